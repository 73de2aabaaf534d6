"""From arrays to one stored problem: the same content once a tenant, whoever is first; nothing half stored."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from l0core.calibration.inputs import CalibrationInputs
from service.errors import NotFound
from service.problems import intake
from service.problems.models import StoredProblem
from service.problems.uploads import Receiver, keep
from service.system import System
from tests.service.problems.files import NPZ, csr_with

_ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _inputs(**changed: Any) -> CalibrationInputs:
    inline = {"csr": {"shape": [2, 3], "indptr": [0, 2, 3], "indices": [0, 1, 2], "data": [1.0, 2.0, 3.0]}}
    return CalibrationInputs.model_validate({"matrix": inline, "targets": [3.0, 4.5]} | changed)


@_ON_POSTGRESQL
def test_the_same_problem_is_kept_once_however_many_bring_it(system: System) -> None:
    with ThreadPoolExecutor(3) as pool:
        kept = list(pool.map(lambda _: intake.register(system, "t", "calibration", _inputs(), {}), range(3)))
    assert len({stored.id for stored, _ in kept}) == 1
    assert sum(is_new for _, is_new in kept) == 1
    _files_are_the_rows(system)


@_ON_SQLITE
def test_another_tenant_neither_shares_nor_sees(system: System) -> None:
    with Receiver(system.store, 10_000) as receiver:
        receiver.write(csr_with())
        upload, _ = keep(system, "mine", receiver.finish(None), NPZ)
    inputs = _inputs(matrix={"upload_id": upload.id})
    mine, _ = intake.register(system, "mine", "calibration", inputs, {"a": "b"})
    with pytest.raises(NotFound, match=f"there is no upload '{upload.id}'"):
        intake.register(system, "theirs", "calibration", inputs, {})
    theirs, is_new = intake.register(system, "theirs", "calibration", _inputs(), {})
    assert is_new
    assert (mine.sha256, mine.tags) == (theirs.sha256, {"a": "b"})
    assert mine.id != theirs.id
    _files_are_the_rows(system)


def _files_are_the_rows(system: System) -> None:
    with system.database.reading() as session:
        listed = {problem.id: problem.size_bytes for problem in session.scalars(select(StoredProblem))}
    folder = system.settings.storage / "problems"
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == listed
    assert list(system.store.scratch().iterdir()) == []
