"""Lists of jobs: what has ended is rendered once, what has moved is never shown as it was."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import from_json

from service.api import listing
from service.api.listing import JobLists
from service.api.responses import Json
from service.jobs import repository
from service.jobs.expiry import expire
from service.jobs.filters import JobFilter
from service.jobs.views import job_view
from service.system import System
from tests.service.jobs import scenes


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the ids of the jobs that are rendered from now on."""
    seen: list[str] = []

    def noted(job: Any) -> dict[str, Any]:
        seen.append(job.id)
        return job_view(job)

    monkeypatch.setattr(listing, "job_view", noted)
    return seen


def shown(lists: JobLists, **filters: Any) -> list[dict[str, Any]]:
    page = lists.page(scenes.TENANT, asked=JobFilter(**filters), before=None, limit=50)
    return [from_json(text) for text in page.texts]


def ended(system: System) -> str:
    held = scenes.running(system)
    scenes.succeed(system, held)
    return held.job_id


def test_a_list_shows_what_the_job_alone_shows(system: System) -> None:
    ids = [ended(system), scenes.submitted(system), scenes.running(system).job_id]
    lists = JobLists(system.database)
    for _ in range(2):
        alone = [from_json(bytes(Json(job_view(scenes.job(system, job_id))).body)) for job_id in reversed(ids)]
        assert shown(lists) == alone


def test_only_what_may_still_change_is_rendered_again(system: System, rendered: list[str]) -> None:
    done, waits = ended(system), scenes.submitted(system)
    lists = JobLists(system.database)
    assert [job["id"] for job in shown(lists)] == [waits, done]
    rendered.clear()
    assert [job["id"] for job in shown(lists)] == [waits, done]
    assert rendered == [waits]


def test_what_happens_to_an_ended_job_is_shown(system: System) -> None:
    job_id = ended(system)
    lists = JobLists(system.database)
    assert shown(lists)[0]["expired_at"] is None
    scenes.set_columns(system, job_id, finished_at=datetime(2000, 1, 1, tzinfo=UTC))
    scenes.write(system, lambda session: expire(session, 1.0, 10))
    assert shown(lists)[0]["expired_at"] is not None


def test_a_job_that_leaves_the_state_that_was_asked_for_is_not_listed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, leaves = scenes.submitted(system), scenes.submitted(system)
    look = repository.jobs_page

    def look_then_cancel(*asked: Any, **named: Any) -> Any:
        found = look(*asked, **named)
        scenes.cancel(system, leaves)
        return found

    monkeypatch.setattr(repository, "jobs_page", look_then_cancel)
    assert [job["id"] for job in shown(JobLists(system.database), status="pending")] == [stays]


def test_what_was_not_asked_for_longest_makes_room(system: System, rendered: list[str]) -> None:
    first, second = ended(system), ended(system)
    lists = JobLists(system.database, most_bytes=len(Json(job_view(scenes.job(system, first))).body) + 100)
    shown(lists)
    rendered.clear()
    shown(lists)
    assert len(rendered) == 1
    assert set(rendered) < {first, second}


def test_pages_follow_one_another(system: System) -> None:
    ids = [scenes.submitted(system) for _ in range(5)]
    lists, seen, before = JobLists(system.database), [], None
    for _ in range(3):
        page = lists.page(scenes.TENANT, asked=JobFilter(), before=before, limit=2)
        seen += [from_json(text)["id"] for text in page.texts]
        before = page.more_after
    assert (seen, before) == (ids[::-1], None)
