"""Problems: validated once, kept by their content."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy.exc import IntegrityError

from l0core.kinds import KINDS
from service.api.bodies import ProblemBody, inputs_of
from service.api.dependencies import NEEDS_ROOM, Tenant, TheSystem
from service.api.pagination import Cursor, Limit, number_in, page, text_in
from service.api.responses import Json
from service.api.sound_json import SoundJsonRoute
from service.errors import Conflict, NotFound
from service.jobs.repository import jobs_use_problem
from service.problems import intake, repository
from service.problems.models import StoredProblem
from service.storage.forgetting import forget

router = APIRouter(prefix="/v1/problems", tags=["problems"], route_class=SoundJsonRoute)


@router.post(
    "",
    status_code=201,
    responses={200: {"description": "Held already, or only validated."}},
    dependencies=[NEEDS_ROOM],
)
def create_problem(
    body: ProblemBody,
    response: Response,
    system: TheSystem,
    tenant: Tenant,
    validate_only: Annotated[bool, Query(description="Report on the problem and store nothing.")] = False,
) -> dict[str, Any]:
    """Check a problem and keep it."""
    kind = KINDS[body.kind]
    if validate_only:
        response.status_code = 200
        report = intake.validate(system, tenant, kind.name, inputs_of(body, kind))
        return {"sha256": report["sha256"], "kind": kind.name, **report["sizes"], "findings": report["findings"]}
    stored, is_new = intake.register(system, tenant, kind.name, inputs_of(body, kind), body.tags)
    response.status_code = 201 if is_new else 200
    return _view(stored)


@router.get("", response_model=dict[str, Any])
def list_problems(
    system: TheSystem,
    tenant: Tenant,
    kind: Annotated[str | None, Query(max_length=64, description="Only problems of this kind.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Give problems, newest first."""
    before = text_in(cursor) if cursor else None
    with system.database.reading() as session:
        rows = repository.problems_page(session, tenant, kind=kind, before=before, limit=limit + 1)
    return Json(page([_view(row) for row in rows], limit, rows[limit - 1].id if len(rows) > limit else None))


@router.get("/{problem_id}/targets", response_model=dict[str, Any])
def get_problem_targets(
    system: TheSystem, tenant: Tenant, problem_id: str, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Give a problem's targets in its order: index, name, value, weight, group, holdout, scale, tolerance."""
    stored = _find(system, tenant, problem_id)
    start = number_in(cursor) if cursor else 0
    with system.store.local(stored.storage_key) as path:
        rows = KINDS[stored.kind].stored_targets(path, start, start + limit + 1)
    if rows is None:
        raise NotFound(f"a {stored.kind} problem has no targets")
    return Json(page(rows, limit, start + limit))


@router.get("/{problem_id}")
def get_problem(problem_id: str, system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Give what is known of a problem."""
    return _view(_find(system, tenant, problem_id))


@router.delete("/{problem_id}", status_code=204)
def delete_problem(problem_id: str, system: TheSystem, tenant: Tenant) -> None:
    """Forget a problem that no job refers to."""
    stored = _find(system, tenant, problem_id)
    try:
        with system.database.transaction() as session:
            if jobs_use_problem(session, stored.id):
                raise _in_use(problem_id)
            session.delete(stored)
    except IntegrityError:  # a job was submitted meanwhile
        raise _in_use(problem_id) from None
    forget(system.store, stored.storage_key)


def _in_use(problem_id: str) -> Conflict:
    return Conflict(f"jobs refer to problem '{problem_id}'; delete them first", code="in_use")


def _find(system: TheSystem, tenant: str, problem_id: str) -> StoredProblem:
    with system.database.reading() as session:
        stored = repository.problem_of(session, tenant, problem_id)
    if stored is None:
        raise _unknown(problem_id)
    return stored


def _unknown(problem_id: str) -> NotFound:
    return NotFound(f"there is no problem '{problem_id[:64]}'")


def _view(stored: StoredProblem) -> dict[str, Any]:
    return {
        "id": stored.id,
        "sha256": stored.sha256,
        "kind": stored.kind,
        **stored.sizes,
        "findings": stored.findings,
        "tags": stored.tags,
        "created_at": stored.created_at,
    }
