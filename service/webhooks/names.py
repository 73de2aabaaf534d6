"""Addresses of names, in bounded time: the system's own resolver may hang for half a minute."""

import socket
import threading
from concurrent.futures import Future
from ipaddress import ip_address

from service.webhooks.addresses import Address
from service.webhooks.errors import BadDestination

LOOK_UP_SECONDS = 3.0


def look_up(host: str, port: int, seconds: float = LOOK_UP_SECONDS) -> list[Address]:
    """Give every address of a name; BadDestination where it has none, or none is told in time.

    A look-up that hangs keeps a thread until the resolver itself gives up.
    """
    told: Future[list[Address]] = Future()
    threading.Thread(target=_ask, args=(host, port, told), name="look-up", daemon=True).start()
    try:
        return told.result(seconds)
    except TimeoutError:
        text = f"the name '{host}' could not be looked up in {seconds:g} seconds; check it, or try again"
        raise BadDestination(text) from None
    except (OSError, UnicodeError):
        raise BadDestination(f"the name '{host}' has no address; check it, or try again") from None


def _ask(host: str, port: int, told: "Future[list[Address]]") -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        told.set_result(list(dict.fromkeys(ip_address(place[0]) for *_, place in found)))
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
        told.set_exception(error)
