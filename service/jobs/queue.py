"""The broker: publishes `{job_id}` and nothing else. A message may be lost, repeated or late; SQL is the truth."""

from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import RedisError

from service.jobs.routing import QUEUES
from service.logging import log
from service.settings import Settings

TASK_NAME = "run_job"
_SOCKET_SECONDS = 1
_AWAY = (
    OperationalError,
    RedisError,
    OSError,
)  # what kombu, the Redis client and the socket say of a broker in trouble

_TRANSPORT = {"socket_connect_timeout": _SOCKET_SECONDS, "socket_timeout": None, "health_check_interval": 10}


def celery_app(settings: Settings, listens_to: Iterable[str] = QUEUES) -> Celery:
    """Give the Celery application both sides use: the same transport, no result backend."""
    app = Celery("l0", broker=settings.broker)
    app.conf.update(celery_options(), task_queues=[_queue(name) for name in listens_to])
    return app


def _queue(name: str) -> Queue:
    return Queue(name, routing_key=name)


def celery_options() -> dict[str, Any]:
    """Give the Celery settings, the ones of `docs/decisions/0003`."""
    return {
        "task_default_queue": "cpu",
        "task_ignore_result": True,
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": _TRANSPORT,
        "task_serializer": "json",
        "accept_content": ["json"],
    }


class JobQueue:
    """The sending side; `note_failure` is called for each id that could not be sent."""

    def __init__(self, settings: Settings) -> None:
        self.note_failure: Callable[[], None] = lambda: None
        self._app = celery_app(settings)
        # A worker waits on its socket for ever; who sends must not.
        self._app.conf.broker_transport_options = {**_TRANSPORT, "socket_timeout": _SOCKET_SECONDS}

    def publish(self, job_id: str, queue: str) -> bool:
        """Send a job's id; False, and a log line, where the broker is away: the reconciler sends it again."""
        try:
            where: Any = _queue(queue)  # Celery takes a Queue as well as a name; its types know only the name
            self._app.send_task(TASK_NAME, args=[job_id], queue=where, retry=False, expires=None)
        except _AWAY as error:
            self.note_failure()
            log.warning("publish_failed", job_id=job_id, queue=queue, error=str(error))
            return False
        return True

    def waiting(self, queue: str) -> int | None:
        """Give how many ids wait in a queue; None where the broker is away."""
        try:
            with self._app.connection_for_write() as connection:
                channel: Any = connection.default_channel  # kombu types it as less than it is
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except ChannelError:  # nothing was ever sent to it, or the broker has forgotten everything
            return 0
        except _AWAY:
            return None

    def check_reachable(self) -> None:
        """Open a connection to the broker; raises where there is none."""
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_SOCKET_SECONDS)
