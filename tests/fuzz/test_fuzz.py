"""Schemathesis over the whole OpenAPI document, every check, with a worker that runs what it submits.

30 s on each deployment; `make fuzz` takes longer, from another seed each time (FUZZ_SECONDS, FUZZ_SEED).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.local import local_service

ROOT = Path(__file__).parents[2]
SECONDS = os.environ.get("FUZZ_SECONDS", "30")
SEED = os.environ.get("FUZZ_SEED", "20261128")
OPTIONS = [
    f"--max-time={SECONDS}",
    f"--seed={SEED}",
    "--checks=all",
    "--phases=coverage,fuzzing,stateful",
    "--continue-on-failure",
    "--generation-database=none",
    "--no-color",
]


@pytest.fixture
def service(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a worker: SQLite and a broker of its own, or PostgreSQL and Redis."""
    servers = {} if database_url.startswith("sqlite") else {"L0_DATABASE_URL": database_url, "L0_BROKER_URL": redis_url}
    folder = tmp_path_factory.mktemp("fuzzed")
    with local_service(folder, environment={**servers, "L0_PARSE_SECONDS": "20"}) as url:
        yield url


def test_nothing_that_the_document_allows_or_forbids_surprises_the_service(service: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={ROOT / 'tests/fuzz/schemathesis.toml'}"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "run", f"{service}/openapi.json", *OPTIONS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=float(SECONDS) * 4 + 120,
        check=False,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-20_000:]}{done.stderr[-2000:]}"
    assert httpx.get(f"{service}/readyz").json()["status"] == "ready"
