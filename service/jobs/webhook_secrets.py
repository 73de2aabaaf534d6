"""SQL on what a tenant's webhooks are signed with. Secrets are kept as they are: who signs needs them."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.db.upsert import insert_once
from service.jobs.models import WebhookSecret
from service.webhooks.signing import new_secret

PREVIOUS_SECONDS = 24 * 3600.0  # how long a secret that was replaced still signs, beside the new one


def secret_of(session: Session, tenant: str) -> WebhookSecret:
    """Give a tenant's secret, made when it is first asked for."""
    fresh = {"tenant": tenant, "secret": new_secret(), "created_at": database_now()}
    query = select(WebhookSecret).where(WebhookSecret.tenant == tenant).execution_options(populate_existing=True)
    found = session.scalar(query)
    if found is None:
        insert_once(session, WebhookSecret, fresh)
        found = session.scalars(query).one()
    return found


def rotate(session: Session, tenant: str) -> WebhookSecret:
    """Give a tenant a new secret; the one before signs beside it for a day."""
    secret_of(session, tenant)
    mine = update(WebhookSecret).where(WebhookSecret.tenant == tenant)
    changed = mine.values(previous=WebhookSecret.secret, secret=new_secret(), created_at=database_now())
    session.execute(changed.execution_options(synchronize_session=False))
    return secret_of(session, tenant)


def signing(session: Session, tenant: str) -> list[str]:
    """Give the secrets that sign a message now, the present one first."""
    found = secret_of(session, tenant)
    recent = (WebhookSecret.tenant == tenant, WebhookSecret.created_at > database_now() - PREVIOUS_SECONDS)
    previous = session.scalar(select(WebhookSecret.previous).where(*recent))
    return [found.secret] if previous is None else [found.secret, previous]
