"""Who a worker is, told without waking torch."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from service.settings import Settings
from worker.identity import identity, versions

AT_REST = "import sys, worker.app, worker.execution, worker.__main__; sys.exit('torch' in sys.modules)"


@pytest.mark.parametrize(
    ("text", "queues"), [("cpu", ("cpu",)), ("gpu,cpu", ("gpu", "cpu")), (" gpu , cpu ,", ("gpu", "cpu"))]
)
def test_the_queues_are_the_ones_the_settings_name(text: str, queues: tuple[str, ...]) -> None:
    made = identity(Settings(worker_queues=text, worker_device="cuda:0"))
    assert (made.queues, made.device) == (queues, "cuda:0")


def test_two_workers_never_share_a_name() -> None:
    assert identity(Settings()).id != identity(Settings()).id


def test_the_versions_are_those_of_this_environment() -> None:
    assert versions()["torch"] == version("torch")
    assert versions()["engine"] == version("l0-calibration")
    assert set(versions()) == {"service", "engine", "torch", "python"}


def test_a_worker_at_rest_has_not_loaded_torch() -> None:
    assert subprocess.run([sys.executable, "-c", AT_REST], check=False).returncode == 0
