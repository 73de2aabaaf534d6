"""A worker killed while it sends a webhook: another sends it again, under the same id."""

import socket
import threading
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from service.db.base import database_now
from service.jobs.models import WebhookMessage
from service.system import System
from tests.faults.processes import workers
from tests.service.jobs import scenes
from tests.service.jobs.waiting import until
from tests.service.webhooks.receivers import HERE, listening
from worker.webhooks import Webhooks


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_webhook_of_a_killed_worker_is_sent_again_under_the_same_id(system: System) -> None:
    home = replace(system, settings=system.settings.model_copy(update={"webhook_allowed_networks": HERE}))
    requests: list[bytes] = []
    answers = threading.Event()

    def serve(line: socket.socket) -> None:
        request = line.recv(65_536)
        requests.append(request)
        if answers.is_set():
            line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            line.recv(1)  # until the sender is no more

    with listening(serve) as port:
        scenes.succeed(home, scenes.running(home, webhook_url=f"http://127.0.0.1:{port}/"))
        with workers(home, 1) as (worker,):
            until(lambda: requests)
            worker.popen.kill()
            worker.popen.wait()
        answers.set()
        Webhooks(home).round(lambda: False)
        assert len(requests) == 1
        over = update(WebhookMessage).values(due_at=database_now() - 1.0)
        scenes.write(home, lambda session: session.execute(over))
        Webhooks(home).round(lambda: False)
    with home.database.reading() as session:
        message = session.scalars(select(WebhookMessage)).one()
    assert (message.tries, message.delivered_at is not None) == (2, True)
    assert [f"webhook-id: {message.id}\r\n".encode() in request for request in requests] == [True, True]
