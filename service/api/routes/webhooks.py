"""Webhooks: what they are signed with, and whether a job's was delivered."""

from typing import Any

from fastapi import APIRouter, Response

from service.api.dependencies import NEEDS_WRITE, Tenant, TheJob, TheSystem
from service.errors import NotFound
from service.jobs import outbox, webhook_secrets
from service.jobs.models import WebhookSecret

router = APIRouter(prefix="/v1", tags=["webhooks"])


@router.get("/webhooks/secret", dependencies=[NEEDS_WRITE])
def get_webhook_secret(response: Response, system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Give the secret that your webhooks are signed with; it is made when it is first asked for."""
    with system.database.transaction() as session:
        found = webhook_secrets.secret_of(session, tenant)
    return _view(response, found)


@router.post("/webhooks/secret/rotate")
def rotate_webhook_secret(response: Response, system: TheSystem, tenant: Tenant) -> dict[str, Any]:
    """Make a new secret; for a day each message has a signature of the old one beside that of the new."""
    with system.database.transaction() as session:
        found = webhook_secrets.rotate(session, tenant)
    return _view(response, found)


@router.get("/jobs/{job_id}/webhook")
def get_webhook(system: TheSystem, job: TheJob) -> dict[str, Any]:
    """Give whether the webhook of an ended job was delivered; where it was not, `due_at` is the next try, or null."""
    with system.database.reading() as session:
        message = outbox.message_of(session, job.id)
    if message is None:
        raise NotFound(f"no webhook was told of job '{job.id}': it has no webhook_url, or has not ended")
    return {
        "id": message.id,
        "url": job.webhook_url,
        "tries": message.tries,
        "created_at": message.created_at,
        "due_at": message.due_at,
        "delivered_at": message.delivered_at,
    }


def _view(response: Response, found: WebhookSecret) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return {"secret": found.secret, "created_at": found.created_at}
