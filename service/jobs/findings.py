"""What is wrong or doubtful with a job: the findings of its problem, then what its run has reported."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from l0core.findings import Finding, in_short
from service.jobs import traces
from service.jobs.models import Job
from service.problems.models import StoredProblem


def findings(session: Session, job: Job) -> list[Finding]:
    """Give every finding once, however many attempts reported it; of one code the first hundred and how many more."""
    return in_short(dict.fromkeys([*_of_the_problem(session, job), *_of_the_run(session, job)]))


def _of_the_problem(session: Session, job: Job) -> Iterator[Finding]:
    problem = session.get_one(StoredProblem, job.problem_id)
    return map(Finding.model_validate, problem.findings)


def _of_the_run(session: Session, job: Job) -> Iterator[Finding]:
    for event in traces.events_of_type(session, job.id, "finding"):
        yield Finding.model_validate({**event.data, "message": event.message})
