"""SQL on uploads and problems."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import NotFound
from service.problems.models import StoredProblem, Upload


def upload_of(session: Session, tenant: str, upload_id: str) -> Upload | None:
    """Give a tenant's upload."""
    return session.scalar(select(Upload).where(Upload.id == upload_id, Upload.tenant == tenant))


def uploads_of(session: Session, tenant: str, ids: Iterable[str]) -> dict[str, Upload]:
    """Give a tenant's uploads by id; NotFound names the first that is not there."""
    found = {upload_id: upload_of(session, tenant, upload_id) for upload_id in dict.fromkeys(ids)}
    for upload_id, upload in found.items():
        if upload is None:
            raise NotFound(f"there is no upload '{upload_id}'")
    return {upload_id: upload for upload_id, upload in found.items() if upload is not None}


def same_upload(session: Session, tenant: str, sha256: str, content_type: str) -> Upload | None:
    """Give the upload that holds these bytes already."""
    return session.scalar(
        select(Upload).where(Upload.tenant == tenant, Upload.sha256 == sha256, Upload.content_type == content_type)
    )


def problem_of(session: Session, tenant: str, problem_id: str) -> StoredProblem | None:
    """Give a tenant's problem."""
    return session.scalar(select(StoredProblem).where(StoredProblem.id == problem_id, StoredProblem.tenant == tenant))


def same_problem(session: Session, tenant: str, sha256: str) -> StoredProblem | None:
    """Give the problem with this content."""
    return session.scalar(select(StoredProblem).where(StoredProblem.sha256 == sha256, StoredProblem.tenant == tenant))


def storage_key(session: Session, problem_id: str) -> str:
    """Give where a problem's bytes are; a job's problem is never deleted before the job."""
    return session.scalars(select(StoredProblem.storage_key).where(StoredProblem.id == problem_id)).one()
