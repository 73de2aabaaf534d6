"""The life of jobs as a state machine: any verb by anyone at any time, and the laws that hold all the same."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete

from service.db.base import database_now
from service.errors import Conflict
from service.jobs import lifecycle, outbox
from service.jobs.models import Job
from service.jobs.states import MOVES, TERMINAL, Status
from service.jobs.values import Batch, Claim, Directive
from service.system import System
from service.tables import Base
from tests.service.jobs import scenes

MOST_JOBS = 3
LIFE = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
NUMBERS = st.integers(min_value=0, max_value=99)


class Life(RuleBasedStateMachine):
    """A few jobs, every claim ever made on them, and what was seen of them last."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system
        scenes.write(system, _empty)
        self.problem_id = scenes.keep_problem(system)
        self.ids: list[str] = []
        self.claims: list[Claim] = []
        self.last_seen: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, list[object]] = {}
        self.most_attempts: dict[str, int] = defaultdict(int)

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @rule(max_attempts=st.integers(1, 3), deadline=st.sampled_from([None, 1000.0]))
    def submit(self, max_attempts: int, deadline: float | None) -> None:
        asked = {"max_attempts": max_attempts, "deadline_seconds": deadline, "webhook_url": "https://9.9.9.9/"}
        self.ids.append(scenes.submitted(self.system, self.problem_id, **asked))

    @precondition(lambda self: self.ids)
    @rule(pick=NUMBERS)
    def claim(self, pick: int) -> None:
        job_id = self._job(pick)
        free = self._may_be_claimed(job_id)
        held = scenes.try_claim(self.system, job_id)
        assert (held is not None) == free
        if held is not None:
            assert held.token not in {other.token for other in self.claims}
            self.claims.append(held)

    @precondition(lambda self: self.claims)
    @rule(pick=NUMBERS, cancelled=st.booleans())
    def report(self, pick: int, cancelled: bool) -> None:
        held = self._claim(pick)
        alive = self._holds(held)
        batch = Batch(stage="selecting", metrics=[(pick, {"loss": 1.0})], events=[scenes.note("x")])
        told = scenes.report(self.system, held, batch)
        assert (told is not Directive.LOST) == alive

    @precondition(lambda self: self.claims)
    @rule(pick=NUMBERS)
    def succeed(self, pick: int) -> None:
        held = self._claim(pick)
        assert self._holds(held) == scenes.succeed(self.system, held, artifacts=(scenes.artifact_ref("a.txt"),))

    @precondition(lambda self: self.claims)
    @rule(pick=NUMBERS, failure=st.sampled_from([scenes.RETRY, scenes.NO_RETRY]))
    def fail(self, pick: int, failure: Any) -> None:
        held = self._claim(pick)
        assert self._holds(held) == scenes.fail(self.system, held, failure)

    @precondition(lambda self: self.claims)
    @rule(pick=NUMBERS)
    def give_back(self, pick: int) -> None:
        held = self._claim(pick)
        assert self._holds(held) == scenes.give_back(self.system, held)

    @precondition(lambda self: self.claims)
    @rule(pick=NUMBERS)
    def end_cancelled(self, pick: int) -> None:
        held = self._claim(pick)
        if scenes.job(self.system, held.job_id).cancel_requested_at is not None:  # else no worker does so
            assert self._holds(held) == scenes.end_cancelled(self.system, held)

    @precondition(lambda self: self.ids)
    @rule(pick=NUMBERS)
    def cancel(self, pick: int) -> None:
        job_id = self._job(pick)
        refused = self._status(job_id) in {Status.SUCCEEDED, Status.FAILED}
        try:
            shown = scenes.cancel(self.system, job_id)
        except Conflict:
            assert refused
        else:
            assert not refused
            assert shown.cancel_requested_at is not None

    @precondition(lambda self: self.ids)
    @rule(pick=NUMBERS)
    def lose_the_worker(self, pick: int) -> None:
        if self._status(self._job(pick)) is Status.RUNNING:
            scenes.expire(self.system, self._job(pick))

    @precondition(lambda self: self.ids)
    @rule(pick=NUMBERS)
    def forget_the_message(self, pick: int) -> None:
        if self._status(self._job(pick)) not in TERMINAL:
            scenes.published_long_ago(self.system, self._job(pick))

    @precondition(lambda self: self.ids)
    @rule(pick=NUMBERS)
    def pass_the_deadline(self, pick: int) -> None:
        if self._status(self._job(pick)) not in TERMINAL:
            scenes.set_columns(self.system, self._job(pick), created_at=database_now() - 2000.0)

    @rule()
    def reap(self) -> None:
        sent = scenes.reap(self.system)
        assert all(self._may_be_claimed(job_id) for job_id in sent)
        assert len(sent) == len(set(sent))

    @invariant()
    def the_laws_hold(self) -> None:
        for job_id in self.ids:
            job = scenes.job(self.system, job_id)
            self._moved_legally(job)
            self._counted_rightly(job)
            self._ended_for_good(job)
            self._is_told(job)
            assert sum(self._holds(held) for held in self.claims if held.job_id == job_id) <= 1

    def _moved_legally(self, job: Job) -> None:
        now, before = Status(job.status), self.last_seen.get(job.id)
        was = Status(before["status"]) if before else Status.PENDING
        assert now is was or now in MOVES[was]
        assert (job.finished_at is not None) == (now in TERMINAL)
        assert (job.summary is not None) == (now is Status.SUCCEEDED)
        assert (job.error is not None) == (now is Status.FAILED)
        assert (job.lease_expires_at is not None) == (now is Status.RUNNING)

    def _counted_rightly(self, job: Job) -> None:
        before = self.last_seen.get(job.id)
        assert 0 <= job.attempt <= job.max_attempts
        if before is not None:
            assert job.version >= before["version"]
            assert job.last_event >= before["last_event"]
        numbers = [event.seq for event in scenes.events(self.system, job.id)]
        assert numbers == list(range(1, job.last_event + 1))
        self.last_seen[job.id] = scenes.values_of(job)

    def _ended_for_good(self, job: Job) -> None:
        if Status(job.status) not in TERMINAL:
            return
        seen: list[object] = [scenes.values_of(job), scenes.event_types(self.system, job.id)]
        assert self.ended.setdefault(job.id, seen) == seen

    def _is_told(self, job: Job) -> None:
        """Its webhook has a message from its end on, never before."""
        with self.system.database.reading() as session:
            message = outbox.message_of(session, job.id)
        assert (message is not None) == (Status(job.status) in TERMINAL)

    def _job(self, pick: int) -> str:
        return self.ids[pick % len(self.ids)]

    def _claim(self, pick: int) -> Claim:
        """Pick a claim ever made, the newest ones more often."""
        return self.claims[-1 - (pick // 2 % len(self.claims))]

    def _status(self, job_id: str) -> Status:
        return Status(scenes.job(self.system, job_id).status)

    def _holds(self, held: Claim) -> bool:
        with self.system.database.reading() as session:
            return lifecycle.directive(session, held) is not Directive.LOST

    def _may_be_claimed(self, job_id: str) -> bool:
        """Say by the rules, on this machine's clock, whether a worker would get the job."""
        job = scenes.job(self.system, job_id)
        moment = scenes.now(self.system)
        lost = job.lease_expires_at is not None and job.lease_expires_at.timestamp() < moment
        free = job.status == "pending" or (job.status == "running" and lost)
        return free and job.attempt < job.max_attempts and job.cancel_requested_at is None


def _empty(session: Any) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(delete(table))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whatever_happens_in_whatever_order_the_laws_hold(system: System) -> None:
    run_state_machine_as_test(lambda: Life(system), settings=LIFE)  # type: ignore[arg-type]  # any factory will do
