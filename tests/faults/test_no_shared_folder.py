"""API and workers that share a bucket and no folder: the life of a job whose worker is killed, bit for bit."""

import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from service.system import System
from tests.buckets import Bucket
from tests.faults.processes import holder, workers
from tests.faults.test_workers_killed import assert_undisturbed, has_succeeded
from tests.service.api.door import Door, open_door
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.problems.files import NPY, NPZ, npy, npz
from tests.worker import runs


class Machine:
    """A folder of its own, and the service as it is seen from there."""

    def __init__(self, stack: ExitStack, folder: Path, shared: Settings) -> None:
        folder.mkdir()
        self.settings = Settings(**(shared.model_dump(exclude_unset=True) | {"data_dir": folder}))
        self.system = System.open(self.settings)
        stack.callback(self.system.database.dispose)

    @property
    def files(self) -> list[str]:
        """What lies in its folder of files."""
        return sorted(path.name for path in self.settings.storage.rglob("*") if path.is_file())


def through_the_api(door: Door) -> str:
    """Submit the job of `runs` as a client does; gives its id."""
    uploads = {
        "matrix": door.upload(npz(runs.PROBLEM.matrix), NPZ),
        "targets": door.upload(npy(runs.PROBLEM.targets), NPY),
        "initial_weights": door.upload(npy(runs.PROBLEM.design_weights), NPY),
    }
    problem_id = door.problem(**{name: {"upload_id": upload_id} for name, upload_id in uploads.items()})
    asked: dict[str, Any] = {"hyperparameters": runs.DRAWN | {"epochs": runs.EPOCHS}, "seed": runs.SEED}
    job_id: str = door.job(problem_id, **asked, device="cpu", checkpoint_every=runs.EVERY_EPOCHS)["id"]
    return job_id


def in_two_parts(door: Door, job_id: str, name: str) -> bytes:
    """Give an artifact from two ranges."""
    url = f"/v1/jobs/{job_id}/artifacts/{name}"
    halves = [door.http.get(url, headers={"Range": asked}) for asked in ("bytes=0-199", "bytes=200-")]
    assert [half.status_code for half in halves] == [206, 206]
    return b"".join(half.content for half in halves)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_goes_on_from_its_checkpoint_on_a_machine_that_shares_only_the_bucket(
    settings: Settings, s3_url: str, tmp_path: Path
) -> None:
    bucket = Bucket(s3_url)
    shared = bucket.settings(settings)
    with ExitStack() as stack:
        api, one, other = (Machine(stack, tmp_path / name, shared) for name in ("api", "one", "other"))
        door = stack.enter_context(open_door(api.settings))
        job_id = through_the_api(door)
        (killed,) = stack.enter_context(workers(one.system, 1))
        _, engine = holder(one.system, job_id, [killed])
        with runs.held_in_mid_run(one.system, job_id, engine) as reached:
            killed.popen.kill()
            killed.popen.wait()
        with workers(other.system, 1):
            until(lambda: has_succeeded(other.system, job_id))
        assert 0 < reached < runs.EPOCHS
        assert scenes.job(other.system, job_id).attempt == 2
        assert_undisturbed(other.system, job_id)
        weights = np.load(io.BytesIO(in_two_parts(door, job_id, "calibration_weights.npy")), allow_pickle=False)
        assert np.array_equal(weights, runs.weights(other.system, job_id))
        told = door.http.get(f"/v1/jobs/{job_id}/weights", params={"active_only": False}).json()["values"]
        assert told == weights.tolist()
        assert (api.files, other.files) == ([], [])
        assert bucket.unfinished == []
        runs.executed(one.system, runs.submitted(one.system, epochs=5))
        assert one.files == []
