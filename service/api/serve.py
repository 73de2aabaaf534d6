"""The API's process: uvicorn on a socket that was opened for it, or on the address in the settings."""

import socket
import sys

import uvicorn

from service.api.app import create_app
from service.auth.guard import RefusedToStart
from service.db.revision import WrongRevision, check_start
from service.logging import configure, log
from service.settings import Settings

_DRAIN_SECONDS = 3
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
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    log.info("api_starts", host=settings.host, port=settings.port)
    uvicorn.Server(config).run(sockets=[listener] if listener else None)


def main() -> None:
    """Serve on the socket whose number is the first argument, where there is one."""
    listener = socket.socket(fileno=int(sys.argv[1])) if len(sys.argv) > 1 else None
    try:
        serve(Settings(), listener)
    except (RefusedToStart, WrongRevision) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
