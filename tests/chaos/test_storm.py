"""The short form of `make chaos`: a minute of faults on each deployment."""

from pathlib import Path

import pytest

from tests.chaos.storm import storm


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_dies_every_job_ends_once_with_the_result_of_an_undisturbed_run(kind: str, tmp_path: Path) -> None:
    report = storm(kind, tmp_path, jobs=6, seconds=60.0, seed=2026)
    assert sum(report.struck.values()) > 0
    assert report.broken == [], str(report)
