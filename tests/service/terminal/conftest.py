"""`l0` against a real service, and files to give it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from service.db.migrate import upgrade
from service.settings import Settings
from tests.problems import Solved, solved
from tests.service.api.door import Door, open_door
from tests.service.api.endings import Finished, really_run
from tests.service.terminal.typed import L0


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    """The API as a process of its own."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("terminal"), broker_url=redis_url)
    upgrade(settings.database)
    with open_door(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def finished(door: Door) -> Finished:
    """A job that the engine has run to its end."""
    return really_run(door)


@pytest.fixture
def l0(door: Door) -> L0:
    """What is typed after `l0`, with L0_URL set."""
    return L0(str(door.http.base_url))


@pytest.fixture(scope="session")
def problem() -> Solved:
    """The problem in the files."""
    return solved(seed=41)


@pytest.fixture
def files(problem: Solved, tmp_path: Path) -> list[str]:
    """The paths of a matrix and of targets."""
    sp.save_npz(tmp_path / "M.npz", problem.problem.matrix)
    np.save(tmp_path / "y.npy", problem.problem.targets)
    np.save(tmp_path / "d.npy", problem.problem.design_weights)
    return [str(tmp_path / "M.npz"), str(tmp_path / "y.npy")]


@pytest.fixture
def job_id(door: Door) -> str:
    """A job that waits for a worker."""
    return str(door.job(door.listed_problem())["id"])
