"""SQL on uploads and problems."""

from collections.abc import Collection, Iterable

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.errors import NotFound
from service.problems.models import StoredProblem, Upload


def upload_of(session: Session, tenant: str, upload_id: str) -> Upload | None:
    """Give a tenant's upload."""
    return session.scalar(select(Upload).where(Upload.id == upload_id, Upload.tenant == tenant))


def upload_with(session: Session, tenant: str, sha256: str, content_type: str | None = None) -> Upload | None:
    """Give a tenant's upload of these bytes, the last that was sent; of one content type where it is named."""
    found = select(Upload).where(Upload.tenant == tenant, Upload.sha256 == sha256)
    named = found if content_type is None else found.where(Upload.content_type == content_type)
    return session.scalar(named.order_by(Upload.created_at.desc(), Upload.id).limit(1))


def use_uploads(session: Session, tenant: str, ids: Iterable[str]) -> dict[str, Upload]:
    """Give a tenant's uploads by id, kept for a full term from now on; NotFound names the first that is not there."""
    found = {upload_id: _used(session, tenant, upload_id) for upload_id in dict.fromkeys(ids)}
    for upload_id, upload in found.items():
        if upload is None:
            raise NotFound(f"there is no upload '{upload_id}'")
    return {upload_id: upload for upload_id, upload in found.items() if upload is not None}


def _used(session: Session, tenant: str, upload_id: str) -> Upload | None:
    mine = update(Upload).where(Upload.id == upload_id, Upload.tenant == tenant)
    return session.scalar(mine.values(used_at=database_now()).returning(Upload))


def use_same_upload(session: Session, tenant: str, sha256: str, content_type: str) -> Upload | None:
    """Give the upload that holds these bytes already, kept for a full term from now on."""
    same = select(Upload.id).where(
        Upload.tenant == tenant, Upload.sha256 == sha256, Upload.content_type == content_type
    )
    held = session.scalar(same)
    return None if held is None else _used(session, tenant, held)


def forget_uploads(session: Session, unused_seconds: float, limit: int) -> list[str]:
    """Take uploads off the list that nobody has sent or used for so long; gives the storage keys to delete."""
    since = func.coalesce(Upload.used_at, Upload.created_at)
    old = select(Upload.id).where(since < database_now() - unused_seconds).limit(limit)
    unused = delete(Upload).where(Upload.id.in_(old), since < database_now() - unused_seconds)
    return list(session.scalars(unused.returning(Upload.storage_key)))


def listed_files(session: Session, ids: Collection[str]) -> set[str]:
    """Give the storage keys of the uploads and problems of these ids."""
    tables = (Upload, StoredProblem)
    return {key for table in tables for key in session.scalars(select(table.storage_key).where(table.id.in_(ids)))}


def problem_of(session: Session, tenant: str, problem_id: str) -> StoredProblem | None:
    """Give a tenant's problem."""
    return session.scalar(select(StoredProblem).where(StoredProblem.id == problem_id, StoredProblem.tenant == tenant))


def problems_page(
    session: Session, tenant: str, *, kind: str | None, before: str | None, limit: int
) -> list[StoredProblem]:
    """Give up to `limit` problems of a tenant, newest first, older than the problem `before`."""
    query = select(StoredProblem).where(StoredProblem.tenant == tenant)
    if kind is not None:
        query = query.where(StoredProblem.kind == kind)
    if before is not None:
        query = query.where(StoredProblem.id < before)
    return list(session.scalars(query.order_by(StoredProblem.id.desc()).limit(limit)))


def same_problem(session: Session, tenant: str, sha256: str) -> StoredProblem | None:
    """Give the problem with this content."""
    return session.scalar(select(StoredProblem).where(StoredProblem.sha256 == sha256, StoredProblem.tenant == tenant))


def storage_key(session: Session, problem_id: str) -> str:
    """Give where a problem's bytes are; a job's problem is never deleted before the job."""
    return session.scalars(select(StoredProblem.storage_key).where(StoredProblem.id == problem_id)).one()
