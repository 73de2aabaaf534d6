"""The API's process: uvicorn on a socket that was opened for it, or on the address in the settings.

With `api_processes` above 1 it is the parent of as many that answer on one socket; they count what they do together.
"""

import gc
import os
import socket
import sys
import time
from tempfile import TemporaryDirectory

import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from service.api import instruments
from service.api.app import create_app
from service.api.connections import impatient
from service.auth.guard import RefusedToStart
from service.auth.guard import check_start as check_network
from service.children import Child, StartFailed, listen
from service.db.revision import WrongRevision, check_start
from service.ending import Ended, told_by_signals
from service.logging import configure, log
from service.settings import Settings

REFUSALS = (RefusedToStart, WrongRevision, StartFailed)  # what keeps it from serving, each a sentence
_DRAIN_SECONDS = 3
_POLL_SECONDS = 0.2
_KEEP_ALIVE_SECONDS = 75  # longer than clients and proxies pause between two looks


def serve(settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve until told to end."""
    configure(settings, process="api")
    app = create_app(settings)
    check_start(settings.database, settings.migration_wait_seconds)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # `configure` has set up all logging
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # nothing here asks for the client's address
        server_header=False,
        http=impatient(settings.read_timeout_seconds),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    gc.freeze()  # what was made until here stays; else each full collection looks at it again, for a tenth of a second
    log.info("api_starts", host=settings.host, port=settings.port)
    uvicorn.Server(config).run(sockets=[listener] if listener else None)


def serve_with_children(settings: Settings, listener: socket.socket) -> None:
    """Keep several processes alive that serve on one socket, until told to end."""
    with told_by_signals() as ending, TemporaryDirectory(prefix="l0-counts-") as counts:
        os.environ[instruments.COUNTED_TOGETHER] = counts
        children = [_child(settings, number, listener) for number in range(1, settings.api_processes + 1)]
        try:
            for child in children:
                child.start()
            while True:
                with ending.waiting():
                    time.sleep(_POLL_SECONDS)
                for child in children:
                    _keep_alive(child, counts)
        except Ended:
            pass
        finally:
            for child in children:
                child.stop()


def _child(settings: Settings, number: int, listener: socket.socket) -> Child:
    return Child(
        name=f"api-{number}",
        command=[sys.executable, "-m", "service.api.serve", str(listener.fileno())],
        settings=settings.model_copy(update={"api_processes": 1}),
        log_folder=None,
        stop_seconds=_DRAIN_SECONDS + 2,
        pass_fds=(listener.fileno(),),
    )


def _keep_alive(child: Child, counts: str) -> None:
    if child.process is not None and child.process.poll() is not None:
        mark_process_dead(child.process.pid, counts)  # type: ignore[no-untyped-call]  # its streams have ended
    child.keep_alive()


def run(settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve with as many processes as the settings say, until told to end."""
    if settings.api_processes == 1:
        serve(settings, listener)
        return
    configure(settings, process="api")
    check_network(settings)
    check_start(settings.database, settings.migration_wait_seconds)
    serve_with_children(settings, listener or listen(settings))


def main() -> None:
    """Serve on the socket whose number is the first argument, where there is one."""
    listener = socket.socket(fileno=int(sys.argv[1])) if len(sys.argv) > 1 else None
    try:
        run(Settings(), listener)
    except REFUSALS as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
