"""Telling webhooks of jobs that have ended: every worker looks for messages that are due, and one sends each."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import urlsplit

from service.jobs import outbox
from service.jobs.outbox import Delivery, Due
from service.logging import log
from service.system import System
from service.webhooks.errors import WebhookError
from service.webhooks.sending import WHOLE_SECONDS, post
from service.webhooks.signing import signed_headers

LOOK_SECONDS = 1.0
PAUSES_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)  # as the standard says
_IN_HAND_SECONDS = 3 * WHOLE_SECONDS  # a message is due again then, unless its worker has said what became of it
_AT_A_TIME = 8


class Webhooks:
    """The rounds of one worker; `pauses` are between the tries, after the last of which a message is given up."""

    def __init__(self, system: System, pauses: Sequence[float] = PAUSES_SECONDS) -> None:
        self._system, self._pauses = system, pauses

    def round(self, should_stop: Callable[[], bool]) -> None:
        """Send what is due, a few at a time; breaks off between them where it shall stop."""
        while not should_stop() and (due := self._due()):
            with ThreadPoolExecutor(len(due), thread_name_prefix="webhook") as pool:
                list(pool.map(self._deliver, due))

    def _due(self) -> list[Due]:
        with self._system.database.reading() as session:
            return outbox.due(session, _AT_A_TIME)

    def _deliver(self, due: Due) -> None:
        with self._system.database.transaction() as session:
            delivery = outbox.take(session, due, _IN_HAND_SECONDS)
        if delivery is None:
            return
        try:
            status = self._send(delivery)
        except WebhookError as error:
            self._failed(delivery, str(error), for_good=False)
            return
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            self._delivered(delivery, status)
        else:
            self._failed(delivery, f"status {status}", for_good=status == HTTPStatus.GONE)

    def _send(self, delivery: Delivery) -> int:
        headers = signed_headers(delivery.id, int(time.time()), delivery.body, delivery.secrets)
        return post(delivery.url, delivery.body, headers, networks=self._system.settings.webhook_networks)

    def _delivered(self, delivery: Delivery, status: int) -> None:
        with self._system.database.transaction() as session:
            outbox.note_delivered(session, delivery)
        log.info("webhook_delivered", status=status, **_said(delivery))

    def _failed(self, delivery: Delivery, reason: str, *, for_good: bool) -> None:
        pause = None if for_good or delivery.tries > len(self._pauses) else self._pauses[delivery.tries - 1]
        with self._system.database.transaction() as session:
            outbox.note_failed(session, delivery, pause)
        event = "webhook_given_up" if pause is None else "webhook_failed"
        log.warning(event, reason=reason, again_in_seconds=pause, **_said(delivery))


def _said(delivery: Delivery) -> dict[str, str | int | None]:
    """Give what the log says of a delivery: of the URL the host alone, since the rest may hold a secret."""
    return {
        "job_id": delivery.job_id,
        "message_id": delivery.id,
        "tries": delivery.tries,
        "host": urlsplit(delivery.url).hostname,
    }
