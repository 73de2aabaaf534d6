"""SQL on messages to webhooks. One is written with the end of its job (`repository`); here it is taken and settled.

Who takes a message moves its `due_at` and counts the try, in one statement: of two workers one has it, and if that one
dies the message is due again. It may be sent twice, under the same id, and is never lost.
"""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Update, case, delete, func, select, update
from sqlalchemy.orm import Session

from service.db.base import database_now
from service.jobs import webhook_secrets
from service.jobs.models import Job, WebhookMessage
from service.jobs.views import announcement


class Due(NamedTuple):
    """A message that is to be sent now, and how often that was tried."""

    id: str
    tries: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message in hand: what is sent where, signed with which secrets, and which try it is."""

    id: str
    job_id: str
    tries: int
    url: str
    body: bytes
    secrets: list[str]


def due(session: Session, limit: int) -> list[Due]:
    """Give up to `limit` messages to send, the oldest of each tenant before a second one of any."""
    nth = func.row_number().over(partition_by=Job.tenant, order_by=WebhookMessage.due_at).label("nth")
    waiting = select(WebhookMessage.id, WebhookMessage.tries, WebhookMessage.due_at, nth)
    now = waiting.join(Job, Job.id == WebhookMessage.job_id).where(WebhookMessage.due_at <= database_now()).subquery()
    rows = session.execute(select(now.c.id, now.c.tries).order_by(now.c.nth, now.c.due_at).limit(limit))
    return [Due(*row) for row in rows]


def take(session: Session, asked: Due, seconds: float) -> Delivery | None:
    """Take a message for so many seconds; None where another worker was first, or it is settled."""
    mine = _in_hand(asked.id, asked.tries).where(WebhookMessage.due_at <= database_now())
    taken = mine.values(tries=WebhookMessage.tries + 1, due_at=database_now() + seconds)
    job_id = session.scalar(taken.returning(WebhookMessage.job_id))
    job = session.get(Job, job_id) if job_id else None
    if job is None or job.webhook_url is None:
        return None
    return Delivery(
        id=asked.id,
        job_id=job.id,
        tries=asked.tries + 1,
        url=job.webhook_url,
        body=announcement(job),
        secrets=webhook_secrets.signing(session, job.tenant),
    )


def note_delivered(session: Session, delivery: Delivery) -> None:
    """Note that a message has arrived, whoever has it in hand by now."""
    arrived = update(WebhookMessage).where(WebhookMessage.id == delivery.id, WebhookMessage.delivered_at.is_(None))
    session.execute(arrived.values(delivered_at=database_now(), due_at=None))


def note_failed(session: Session, delivery: Delivery, pause_seconds: float | None) -> None:
    """Note when a message is due again (None: never), unless another worker has it in hand by now."""
    due_at = None if pause_seconds is None else database_now() + pause_seconds
    session.execute(_in_hand(delivery.id, delivery.tries).values(due_at=due_at))


def message_of(session: Session, job_id: str) -> WebhookMessage | None:
    """Give what a job's webhook is told, and whether it was; None before the job's end, or where it has no webhook."""
    return session.scalar(select(WebhookMessage).where(WebhookMessage.job_id == job_id))


def forget_webhook(session: Session, job_id: str) -> None:
    """Delete a job's message, sent or not."""
    session.execute(delete(WebhookMessage).where(WebhookMessage.job_id == job_id))


def forget_settled(session: Session, kept_seconds: float, limit: int) -> int:
    """Delete messages that were delivered or given up and are older than that; gives how many."""
    settled = (WebhookMessage.due_at.is_(None), WebhookMessage.created_at < database_now() - kept_seconds)
    some = select(WebhookMessage.id).where(*settled).limit(limit)
    return session.connection().execute(delete(WebhookMessage).where(WebhookMessage.id.in_(some), *settled)).rowcount


def counts(session: Session) -> dict[str, int]:
    """Count the messages that wait, were delivered, were given up."""
    delivered, given_up = WebhookMessage.delivered_at.is_not(None), WebhookMessage.due_at.is_(None)
    state = case((delivered, "delivered"), (given_up, "given_up"), else_="waiting")
    found = session.execute(select(state, func.count()).group_by(state))
    return {str(name): int(number) for name, number in found}


def _in_hand(message_id: str, tries: int) -> Update:
    """Give an update of a message that nobody has tried since."""
    untouched = update(WebhookMessage).where(WebhookMessage.id == message_id, WebhookMessage.tries == tries)
    return untouched.where(WebhookMessage.delivered_at.is_(None)).execution_options(synchronize_session=False)
