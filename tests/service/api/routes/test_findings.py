"""Findings over HTTP: those of the problem and those of the run, each once, whatever became of the job."""

from dataclasses import asdict
from typing import Any

from l0core.context import FindingReport
from l0core.findings import Finding
from service.jobs.values import Batch
from tests.service.api.door import Door, other_targets, refused
from tests.service.api.endings import Finished, claimed, told
from tests.service.jobs.scenes import RETRY, fail
from worker.ledger import Ledger
from worker.messages import FindingMessage

_NOBODY = {"coo": {"shape": [2, 3], "row": [0, 0, 0], "col": [0, 1, 2], "data": [1.0, 2.0, 1.0]}}
_CONFLICT = Finding(
    code="ratio_conflict", severity="error", target="dollars", index=1, message="too rich", value=4464286.5
)


def _reported(*findings: Finding) -> Batch:
    """Give what a worker writes when its run reports these."""
    ledger = Ledger({})
    for finding in findings:
        ledger.add(FindingMessage(**asdict(FindingReport.of(finding))))
    return ledger.batch


def _found(door: Door, job: dict[str, Any]) -> list[dict[str, Any]]:
    reply = door.http.get(job["links"]["findings"])
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["data"]
    return found


def test_a_new_job_has_the_findings_of_its_problem(door: Door) -> None:
    reply = door.problem(targets=other_targets(), matrix=_NOBODY, target_names=["people", "nobody"])
    job = door.job(reply)
    (finding,) = _found(door, job)
    assert finding == {
        "code": "no_support",
        "severity": "error",
        "target": "nobody",
        "index": 1,
        "message": "target 'nobody' is 4.5, and no unit contributes to it",
        "value": 4.5,
    }
    door.http.post(job["links"]["cancel"])


def test_what_two_attempts_report_is_listed_once_and_after_the_problem_s(door: Door) -> None:
    job = door.job(door.problem(targets=other_targets(), matrix=_NOBODY))
    first = claimed(door.system, job["id"])
    told(door.system, first, _reported(_CONFLICT))
    fail(door.system, first, RETRY)
    second = claimed(door.system, job["id"])
    assert second.attempt == 2
    later = _CONFLICT.model_copy(update={"index": None, "target": None})
    told(door.system, second, _reported(_CONFLICT, later))
    found = _found(door, job)
    assert [finding["code"] for finding in found] == ["no_support", "ratio_conflict", "ratio_conflict"]
    assert found[1:] == [_CONFLICT.model_dump(), later.model_dump()]
    door.http.post(job["links"]["cancel"])
    assert _found(door, job) == found


def test_of_many_findings_of_one_kind_a_hundred_are_listed_and_the_rest_counted(door: Door, problem_id: str) -> None:
    job = door.job(problem_id)
    many = (_CONFLICT.model_copy(update={"index": index}) for index in range(130))
    told(door.system, claimed(door.system, job["id"]), _reported(*many))
    found = _found(door, job)
    assert [finding["index"] for finding in found] == [*range(100), None]
    assert found[-1]["message"] == "30 more findings of this kind are not listed"
    door.http.post(job["links"]["cancel"])


def test_a_job_that_was_really_run_tells_its_findings(door: Door, finished: Finished) -> None:
    problem = door.http.get(f"/v1/problems/{finished.problem_id}").json()
    found = door.http.get(f"{finished.url}/findings").json()["data"]
    assert found[: len(problem["findings"])] == problem["findings"]


def test_nobody_s_job_has_none(door: Door) -> None:
    refused(door.http.get("/v1/jobs/job_nobody/findings"), 404, "not_found")
