"""Checkpoints over HTTP: listed, and asked for weights in every state of a job; no broken one is ever read."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from l0core.arrays import FloatArray
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.partial import WEIGHTS, weights_in
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from l0core.kinds import KINDS
from service.jobs import lifecycle
from service.jobs.values import Batch, CheckpointRef, Claim, Failure
from service.system import System
from tests.service.api.door import Door, problem_body, refused
from tests.service.api.endings import claimed, told

MATRIX = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
EPOCHS = (1, 2)
_ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """The engine's checkpoints of the door's problem, by epoch."""
    made: dict[int, bytes] = {}

    def saved(path: Path, epoch: int) -> None:
        made[epoch] = path.read_bytes()

    policy = CheckpointPolicy(folder=tmp_path_factory.mktemp("checkpoints"), every_epochs=1, saved=saved)
    problem = CalibrationProblem.build(MATRIX, problem_body()["targets"])
    run(problem, CalibrationHyperparameters(epochs=EPOCHS[-1], learning_rate=0.3), RunContext(checkpoints=policy))
    return made


@pytest.fixture
def job(inside: Door, files: dict[int, bytes]) -> dict[str, Any]:
    """A running job of which two checkpoints are kept; it has no other attempt."""
    return running(inside, inside.listed_problem(), files)


def running(door: Door, problem_id: str, files: dict[int, bytes]) -> dict[str, Any]:
    """Give a job on this problem with those checkpoints."""
    submitted = door.job(problem_id, max_attempts=1)
    held = claimed(door.system, submitted["id"])
    for epoch in EPOCHS:
        keep(door.system, held, epoch, files[epoch])
    return submitted | {"held": held}


def keep(system: System, held: Claim, epoch: int, data: bytes) -> None:
    """Store a checkpoint and list it as a worker does."""
    key = f"jobs/{held.job_id}/{held.token[:12]}/checkpoint-{epoch:09d}.safetensors"
    path = system.store.scratch() / "checkpoint"
    path.write_bytes(data)
    system.store.put(key, path)
    ref = CheckpointRef(epoch=epoch, storage_key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    told(system, held, Batch(checkpoints=[ref]))


def weights_of(data: bytes, folder: Path) -> FloatArray:
    """Give the weights in the engine's file."""
    path = folder / "looked-into.safetensors"
    path.write_bytes(data)
    return weights_in(path)


def listed(door: Door, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the list of its checkpoints."""
    data: list[dict[str, Any]] = door.http.get(job["links"]["checkpoints"]).json()["data"]
    return data


def asked(door: Door, job: dict[str, Any], checkpoint: str = "latest", part: str = "weights") -> httpx.Response:
    """Ask for what a checkpoint holds."""
    query: dict[str, Any] = {"checkpoint": checkpoint}
    if part == "weights":
        query |= {"format": "npy", "active_only": False}
    return door.http.get(job["links"][part], params=query)


def array(reply: httpx.Response) -> FloatArray:
    """Give the array of a reply."""
    assert reply.status_code == 200, reply.text
    found: FloatArray = np.load(io.BytesIO(reply.content), allow_pickle=False)
    return found


def tear(door: Door, job: dict[str, Any], epoch: int) -> None:
    """Change one bit of a checkpoint in the store."""
    held: Claim = job["held"]
    path = door.system.settings.storage / f"jobs/{held.job_id}/{held.token[:12]}/checkpoint-{epoch:09d}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def lose(door: Door, job: dict[str, Any], epoch: int) -> None:
    """Take a checkpoint's bytes out of the store."""
    held: Claim = job["held"]
    door.system.store.delete(f"jobs/{held.job_id}/{held.token[:12]}/checkpoint-{epoch:09d}.safetensors")


# --- the list


def test_every_checkpoint_is_listed_the_newest_first(
    inside: Door, job: dict[str, Any], files: dict[int, bytes]
) -> None:
    rows = listed(inside, job)
    assert [row["epoch"] for row in rows] == [2, 1]
    for row in rows:
        data = files[row["epoch"]]
        assert set(row) == {"id", "epoch", "attempt", "size_bytes", "sha256", "created_at"}
        assert (row["attempt"], row["size_bytes"]) == (1, len(data))
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["id"].startswith("ckp_")
        assert row["created_at"].endswith("Z")


def test_a_job_without_checkpoints_lists_none(door: Door, problem_id: str) -> None:
    assert listed(door, door.job(problem_id)) == []
    refused(door.http.get("/v1/jobs/job_nobody/checkpoints"), 404, "not_found")


# --- weights


def _goes_on(_: Door, __: Claim) -> None:
    return None


def _fails(door: Door, held: Claim) -> None:
    with door.system.database.transaction() as session:
        failure = Failure(code="diverged", detail="the loss is not a number")
        assert lifecycle.fail(session, held, Batch(), failure, door.system.dispatcher)


def _is_cancelled(door: Door, held: Claim) -> None:
    assert door.http.post(f"/v1/jobs/{held.job_id}/cancel").status_code == 202
    with door.system.database.transaction() as session:
        assert lifecycle.end_cancelled(session, held, Batch())


def _succeeds(door: Door, held: Claim) -> None:
    with door.system.database.transaction() as session:
        assert lifecycle.succeed(session, held, Batch(), {}, [])


ENDS = {"running": _goes_on, "failed": _fails, "cancelled": _is_cancelled, "succeeded": _succeeds}


@pytest.mark.parametrize("status", ENDS)
def test_whatever_becomes_of_a_job_its_checkpoints_give_their_weights(
    inside: Door, job: dict[str, Any], files: dict[int, bytes], status: str, tmp_path: Path
) -> None:
    ENDS[status](inside, job["held"])
    assert inside.http.get(job["links"]["self"]).json()["status"] == status
    if status != "succeeded":
        for part in ("weights", "predictions"):
            reply = inside.http.get(job["links"][part])
            refused(reply, 409, "result_not_ready", says=f"is {status}; it has no result yet or will have none")
    newest, older = listed(inside, job)
    latest = asked(inside, job)
    assert array(latest).tobytes() == weights_of(files[2], tmp_path).tobytes()
    assert latest.headers["Content-Location"].startswith(job["links"]["weights"] + "?")
    assert newest["id"] in latest.headers["Content-Location"]
    assert inside.http.get(latest.headers["Content-Location"]).content == latest.content
    assert array(asked(inside, job, older["id"])).tobytes() == weights_of(files[1], tmp_path).tobytes()
    assert inside.incoming == []


@_ON_SQLITE
def test_they_come_in_every_form(inside: Door, job: dict[str, Any], files: dict[int, bytes], tmp_path: Path) -> None:
    weights = weights_of(files[2], tmp_path)
    body = inside.http.get(job["links"]["weights"], params={"checkpoint": "latest"}).json()
    assert body == {"indices": [0, 1, 2], "values": weights.tolist(), "count": 3, "n_units": 3}
    reply = inside.http.get(job["links"]["weights"], params={"checkpoint": "latest"}, headers={"Accept": "text/csv"})
    assert [float(line.split(",")[1]) for line in reply.text.splitlines()[1:]] == weights.tolist()
    reply = inside.http.get(job["links"]["weights"], params={"checkpoint": "latest", "format": "xml"})
    refused(reply, 406, "not_acceptable")


def test_predictions_are_the_totals_under_them(inside: Door, files: dict[int, bytes], tmp_path: Path) -> None:
    job = running(inside, inside.problem(), files)
    weights = weights_of(files[2], tmp_path)
    own = asked(inside, job, part="predictions")
    assert own.json()["names"] == ["target_0", "target_1"]
    np.testing.assert_allclose(own.json()["values"], MATRIX @ weights, rtol=1e-12)
    assert listed(inside, job)[0]["id"] in own.headers["Content-Location"]
    other = {"matrix": {"coo": {"shape": [1, 3], "row": [0, 0], "col": [0, 2], "data": [1.0, 10.0]}}}
    reply = inside.http.post(job["links"]["predictions"], params={"checkpoint": "latest"}, json=other)
    np.testing.assert_allclose(reply.json()["values"], [weights[0] + 10 * weights[2]], rtol=1e-12)
    assert inside.incoming == []


# --- none, another's, broken ones


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("part", ["weights", "predictions"])
def test_a_job_without_a_checkpoint_says_so(door: Door, problem_id: str, part: str, *, ended: bool) -> None:
    job = door.job(problem_id)
    if ended:
        door.http.post(job["links"]["cancel"])
    status = "cancelled" if ended else "pending"
    refused(asked(door, job, part=part), 409, "result_not_ready", says=f"is {status} and has no checkpoint")


@pytest.mark.parametrize("checkpoint", ["ckp_nobody", "", "newest"])
def test_a_checkpoint_that_is_not_there_is_not_found(inside: Door, job: dict[str, Any], checkpoint: str) -> None:
    refused(asked(inside, job, checkpoint), 404, "not_found", says="has no such checkpoint")


def test_another_job_s_checkpoint_is_not_found(inside: Door, job: dict[str, Any]) -> None:
    other = inside.job(inside.listed_problem())
    refused(asked(inside, other, listed(inside, job)[0]["id"]), 404, "not_found")


@pytest.mark.parametrize("checkpoint", ["a\0b", "x" * 65])
def test_a_checkpoint_no_database_can_hold_is_refused(door: Door, problem_id: str, checkpoint: str) -> None:
    refused(asked(door, door.job(problem_id), checkpoint), 422, "invalid_request", pointer="/checkpoint")


def test_the_fit_of_the_targets_is_not_to_be_had_of_a_checkpoint(door: Door, problem_id: str) -> None:
    reply = door.http.get(door.job(problem_id)["links"]["targets"], params={"checkpoint": "latest"})
    refused(reply, 422, "invalid_request", pointer="/checkpoint")


@_ON_SQLITE
@pytest.mark.parametrize(("broken", "says"), [(tear, "not the ones that were stored"), (lose, "gone from the store")])
def test_a_broken_checkpoint_is_never_read(
    inside: Door,
    job: dict[str, Any],
    files: dict[int, bytes],
    broken: Callable[[Door, dict[str, Any], int], None],
    says: str,
    tmp_path: Path,
) -> None:
    newest, older = (row["id"] for row in listed(inside, job))
    broken(inside, job, 2)
    refused(asked(inside, job, newest), 409, "checkpoint_incompatible", says=says)
    latest = asked(inside, job)
    assert array(latest).tobytes() == weights_of(files[1], tmp_path).tobytes()
    assert older in latest.headers["Content-Location"]
    broken(inside, job, 1)
    refused(asked(inside, job), 409, "checkpoint_incompatible", says=says)
    assert inside.incoming == []


@_ON_SQLITE
@pytest.mark.parametrize("form", ["older", "garbage"])
def test_a_checkpoint_of_another_form_is_refused_in_words(
    inside: Door, files: dict[int, bytes], form: str, tmp_path: Path
) -> None:
    data, says = b"garbage", "not a checkpoint of this engine"
    if form == "older":
        data, says = older_form(files[2], tmp_path), "written by an engine that kept no weights"
    held = claimed(inside.system, inside.job(inside.listed_problem())["id"])
    keep(inside.system, held, 2, data)
    job = inside.http.get(f"/v1/jobs/{held.job_id}").json()
    for checkpoint in ("latest", listed(inside, job)[0]["id"]):
        refused(asked(inside, job, checkpoint), 409, "checkpoint_incompatible", says=says)


def older_form(data: bytes, folder: Path) -> bytes:
    """Give a checkpoint as it was before it held weights."""
    path = folder / "older.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    save_file({name: held for name, held in load_file(path).items() if name != WEIGHTS}, path, metadata=header)
    return path.read_bytes()


@_ON_SQLITE
def test_a_kind_without_weights_says_so(inside: Door, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "calibration", replace(KINDS["calibration"], partial=None))
    refused(asked(inside, job), 404, "not_found", says="a calibration job has no weights")
