"""One POST to the very address that was checked, so that a name cannot lead elsewhere between check and connection.

No redirect is followed, no proxy used, no more read than the head of the reply, and all of it takes bounded time.
"""

import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress

from l0core.version import VERSION
from service.webhooks.addresses import Address, Network
from service.webhooks.destinations import Destination, addresses_of, parse
from service.webhooks.errors import NoAnswer
from service.webhooks.names import LOOK_UP_SECONDS

WHOLE_SECONDS = 10.0
_MOST_ADDRESSES = 4
_MOST_BYTES = 2**16
_CHUNK_BYTES = 4096
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_INTERIM = range(100, 200)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    networks: tuple[Network, ...] = (),
    seconds: float = WHOLE_SECONDS,
) -> int:
    """Send a body and give the status of the reply; BadDestination or NoAnswer where there is none."""
    ends_at = time.monotonic() + seconds
    destination = parse(url)
    addresses = addresses_of(destination, networks, min(seconds, LOOK_UP_SECONDS))
    try:
        with _connected(destination, addresses[:_MOST_ADDRESSES], ends_at) as line:
            line.settimeout(_left(ends_at))
            line.sendall(_request(destination, headers, body))
            return _reply(line, ends_at)
    except TimeoutError:
        raise NoAnswer(f"it did not answer in {seconds:g} seconds") from None
    except OSError as error:  # refused, cut off, a certificate that does not hold
        raise NoAnswer(f"the connection failed: {error}") from error


def _connected(destination: Destination, addresses: list[Address], ends_at: float) -> socket.socket:
    """Give a line to the first address that takes one, encrypted to who proves to be the name."""
    line = _first_line(addresses, destination.port, ends_at)
    if destination.scheme == "http":
        return line
    with line:  # what wraps it takes it over; else it is closed
        line.settimeout(_left(ends_at))
        return ssl.create_default_context().wrap_socket(line, server_hostname=destination.host)


def _first_line(addresses: list[Address], port: int, ends_at: float) -> socket.socket:
    """Give a line to the first address that takes one; each but the last may use up only its share of the time."""
    *others, last = addresses
    for n_left, address in zip(range(len(addresses), 1, -1), others, strict=True):
        with suppress(OSError):
            return _line(address, port, _left(ends_at) / n_left)
    return _line(last, port, _left(ends_at))


def _line(address: Address, port: int, seconds: float) -> socket.socket:
    line = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        line.settimeout(seconds)
        line.connect((str(address), port))
    except OSError:
        line.close()
        raise
    return line


def _request(destination: Destination, headers: Mapping[str, str], body: bytes) -> bytes:
    sent = {
        "Host": destination.authority,
        "User-Agent": f"l0-calibration/{VERSION}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {destination.target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join(lines).encode("ascii") + _END + body


def _reply(line: socket.socket, ends_at: float) -> int:
    told = b""
    while (status := final_status(told)) is None:
        if len(told) > _MOST_BYTES:
            raise NoAnswer(f"the head of its reply is longer than {_MOST_BYTES} bytes")
        line.settimeout(_left(ends_at))
        more = line.recv(_CHUNK_BYTES)
        if not more:
            raise NoAnswer("it hung up without an answer")
        told += more
    return status


def final_status(told: bytes) -> int | None:
    r"""Give the status of a reply once its head is whole, passing over interim replies; NoAnswer where it is no HTTP.

    >>> final_status(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    204
    """
    while _END in told:
        found = _STATUS.match(told)
        if found is None:
            raise NoAnswer("its reply is no HTTP/1.1")
        if int(found[1]) not in _INTERIM:
            return int(found[1])
        told = told.partition(_END)[2]
    return None


def _left(ends_at: float) -> float:
    """Give the time that is left; TimeoutError where none is."""
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
