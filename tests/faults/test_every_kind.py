"""The laws that hold for a job of every kind, whatever happens to it: by the table in `tests.kinds.samples`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from l0core.kinds import KINDS
from service.settings import Settings
from tests.kinds.samples import SAMPLES, Refused, Sample
from tests.service.api.door import Door, called_here, refused
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.worker import runs

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def door(settings: Settings) -> Iterator[Door]:
    """The API in this process; engines are processes of their own."""
    with called_here(settings) as opened:
        yield opened


@dataclass(frozen=True, kw_only=True)
class OfKind:
    """What a client of a kind does, by its sample."""

    door: Door
    kind: str

    @property
    def sample(self) -> Sample:
        """The sample."""
        return SAMPLES[self.kind]

    def problem(self, changed: dict[str, Any] | None = None) -> httpx.Response:
        """Register its problem."""
        return self.door.http.post("/v1/problems", json={"kind": self.kind, **self.sample.problem, **(changed or {})})

    def asked(self, changed: dict[str, Any] | None = None, **fields: Any) -> httpx.Response:
        """Submit a run on its problem, some hyperparameters changed or (None) left out."""
        said = {name: value for name, value in {**self.sample.run, **(changed or {})}.items() if value is not None}
        problem_id = self.problem().json()["id"]
        body = {"kind": self.kind, "problem_id": problem_id, "hyperparameters": said, "seed": 7, "device": "cpu"}
        return self.door.http.post("/v1/jobs", json=body | {"checkpoint_every": self.sample.every_epochs, **fields})

    def submitted(self, changed: dict[str, Any] | None = None, **fields: Any) -> str:
        """Submit a run that is taken; gives its id."""
        reply = self.asked(changed, **fields)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def get(self, job_id: str, path: str = "") -> Any:
        """Give what the job says at a path."""
        return self.door.http.get(f"/v1/jobs/{job_id}{path}").json()

    def bytes_of(self, job_id: str) -> dict[str, str]:
        """Give the digests of the files that are always the same."""
        held = {file["name"]: file["sha256"] for file in self.get(job_id, "/artifacts")["data"]}
        return {name: held[name] for name in self.sample.exact}


@pytest.fixture
def client(door: Door, kind: str) -> OfKind:
    return OfKind(door=door, kind=kind)


@EVERY_KIND
def test_a_job_whose_engine_is_killed_comes_to_the_bytes_of_one_that_was_left_alone(client: OfKind) -> None:
    system, job_id, other = client.door.system, client.submitted(), client.submitted()
    with runs.attempt(system, job_id) as attempt, attempt.held_in_mid_run() as reached:
        attempt.engine.kill()
    assert reached > 0
    assert client.get(job_id)["status"] == "running"
    for each in (job_id, other):
        runs.executed(system, each)
    states = [client.get(each) for each in (job_id, other)]
    assert [(state["status"], state["attempt"]) for state in states] == [("succeeded", 2), ("succeeded", 1)], states
    assert "checkpoint_unusable" not in str(client.get(job_id, "/findings"))
    assert client.bytes_of(job_id) == client.bytes_of(other)
    assert runs.leftovers(system) == []
    question = client.door.http.post(f"/v1/jobs/{job_id}/predictions", json=client.sample.question)
    assert question.status_code == 200, question.text
    for name in KINDS[client.kind].tables:
        assert client.get(job_id, f"/{name}")["count"] > 0


@EVERY_KIND
def test_a_job_that_is_cancelled_keeps_its_checkpoint_and_another_goes_on_from_it(client: OfKind) -> None:
    system, job_id = client.door.system, client.submitted(client.sample.endless)
    with runs.attempt(system, job_id):
        until(lambda: runs.latest_checkpoint(system, job_id))
        assert client.door.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert client.get(job_id)["status"] == "cancelled"
    told = scenes.event_types(system, job_id)
    assert "checkpoint" in told[told.index("cancel_requested") :]  # of its own accord, not killed
    kept = client.get(job_id, "/checkpoints")["data"]
    assert kept[0]["epoch"] > 0
    refused(client.door.http.get(f"/v1/jobs/{job_id}/predictions"), 409, "result_not_ready")
    weights = client.door.http.get(f"/v1/jobs/{job_id}/weights?checkpoint=latest")
    assert weights.status_code == (200 if KINDS[client.kind].partial else 404)
    following = client.submitted(client.sample.continued, resume_from={"job_id": job_id, "checkpoint": kept[0]["id"]})
    runs.executed(system, following)
    state = client.get(following)
    assert (state["status"], state["resumed_from"]["epoch"]) == ("succeeded", kept[0]["epoch"]), state["error"]


@EVERY_KIND
def test_a_torn_checkpoint_costs_no_job(client: OfKind) -> None:
    system, job_id = client.door.system, client.submitted()
    with runs.attempt(system, job_id) as attempt, attempt.held_in_mid_run():
        attempt.engine.kill()
    stored = runs.latest_checkpoint(system, job_id)
    assert stored is not None
    file = system.settings.storage / stored.storage_key
    file.write_bytes(file.read_bytes()[:-1])
    runs.executed(system, job_id)
    assert client.get(job_id)["status"] == "succeeded"
    assert "checkpoint_unusable" in str(client.get(job_id, "/findings"))


@EVERY_KIND
def test_nobody_goes_on_from_a_checkpoint_that_is_not_there(client: OfKind) -> None:
    job_id = client.submitted()
    for checkpoint in ("latest", "ckp_1"):
        reply = client.asked(resume_from={"job_id": job_id, "checkpoint": checkpoint})
        refused(reply, 409, "result_not_ready", says="resume_from")
    refused(client.asked(resume_from={"job_id": "job_1"}), 404, "not_found", says="resume_from")


BAD_PROBLEMS = [(kind, bad) for kind, sample in SAMPLES.items() for bad in sample.bad_problems]
BAD_RUNS = [(kind, bad) for kind, sample in SAMPLES.items() for bad in sample.bad_hyperparameters]


@pytest.mark.parametrize(("kind", "bad"), BAD_PROBLEMS)
def test_a_problem_that_is_wrong_is_refused_with_a_pointer(client: OfKind, bad: Refused) -> None:
    reply = client.problem(bad.changed)
    assert reply.status_code == 422, reply.text
    fault = reply.json()["errors"][0]
    assert fault["pointer"] == bad.pointer, fault
    assert client.door.rows() == (0, 0)
    assert client.door.incoming == []


@pytest.mark.parametrize(("kind", "bad"), BAD_RUNS)
def test_hyperparameters_that_are_wrong_are_refused_with_a_pointer(client: OfKind, bad: Refused) -> None:
    refused(client.asked(bad.changed), 422, "invalid_hyperparameter", pointer=bad.pointer)


@EVERY_KIND
def test_what_an_engine_refuses_is_why_its_job_has_failed(client: OfKind) -> None:
    job_id = client.submitted(client.sample.failing)
    runs.executed(client.door.system, job_id)
    state = client.get(job_id)
    assert (state["status"], state["attempt"]) == ("failed", 1)
    assert (state["error"]["code"], state["error"]["retryable"]) == (client.sample.code, False)
    refused(client.door.http.get(f"/v1/jobs/{job_id}/targets"), 409, "result_not_ready", says="failed")
