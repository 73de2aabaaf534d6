"""SQL on API keys."""

from collections.abc import Collection

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from service.auth.models import ApiKey
from service.db.base import database_now


def add(session: Session, row: ApiKey) -> None:
    """Insert a key and read the moment the database gave it."""
    session.add(row)
    session.flush()
    session.refresh(row)


def keys(session: Session, tenant: str | None) -> list[ApiKey]:
    """Give the keys of a tenant, or of all, the oldest first; revoked ones too."""
    query = select(ApiKey).order_by(ApiKey.id)
    return list(session.scalars(query if tenant is None else query.where(ApiKey.tenant == tenant)))


def key_by_id(session: Session, key_id: str) -> ApiKey | None:
    """Give a key, also one that is revoked."""
    return session.get(ApiKey, key_id)


def good_keys(session: Session, digests: Collection[str]) -> list[ApiKey]:
    """Give the keys of these SHA-256 that are not revoked."""
    return list(session.scalars(select(ApiKey).where(ApiKey.sha256.in_(digests), ApiKey.revoked_at.is_(None))))


def any_good_key(session: Session) -> bool:
    """Say whether there is a key that is not revoked."""
    return bool(session.scalar(select(exists().where(ApiKey.revoked_at.is_(None)))))


def revoke(session: Session, key_id: str) -> None:
    """Note that a key is good no more; the first time counts."""
    good = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    session.execute(good.values(revoked_at=database_now()))
