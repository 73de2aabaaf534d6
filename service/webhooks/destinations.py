"""A webhook's URL, checked: its form, then every address that it leads to."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from service.webhooks.addresses import Address, Network, is_in, is_public
from service.webhooks.errors import BadDestination
from service.webhooks.names import LOOK_UP_SECONDS, look_up

LONGEST_URL = 2000
_FORM = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][a-z0-9\-._~:/?@!$&'()*+,;=%\[\]]*)?",
    re.IGNORECASE | re.ASCII,
)
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_SHAPE = (
    "write it as https://host/path: ASCII characters only (a name in its xn-- form, the rest percent-encoded), no user "
    "or password, no fragment"
)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a webhook goes; `target` is path and query as they stand in the request line."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Destination:
    """Give the parts of a URL; BadDestination where it is not of the one form that is taken.

    >>> parse("https://example.org?run=1")
    Destination(scheme='https', host='example.org', port=443, target='/?run=1')
    """
    if len(url) > LONGEST_URL:
        raise BadDestination(f"it has {len(url)} characters, and {LONGEST_URL} are the most")
    found = _FORM.fullmatch(url)
    if found is None:
        raise BadDestination(_SHAPE)
    scheme, target = found["scheme"].lower(), found["target"] or "/"
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 2**16:
        raise BadDestination(f"there is no port {port}")
    host = _host(found["host"].lower())
    return Destination(scheme=scheme, host=host, port=port, target=target if target[0] == "/" else f"/{target}")


def addresses_of(
    destination: Destination, networks: tuple[Network, ...], seconds: float = LOOK_UP_SECONDS
) -> list[Address]:
    """Give every address a webhook may be sent to; BadDestination where one of them is out of bounds.

    Public addresses are reached by https alone; those in `networks`, which the operator has listed, by http as well.
    """
    if destination.scheme == "http" and not networks:
        raise BadDestination("it must begin with https://")
    addresses = _literal(destination.host) or look_up(destination.host, destination.port, seconds)
    for address in addresses:
        _check(destination, address, networks)
    return addresses


def _host(host: str) -> str:
    """Give a host, an address without its brackets; an IPv4 address in any form but the usual one is refused."""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        if _ENDS_IN_A_NUMBER.fullmatch(host):
            return str(IPv4Address(host))
    except ValueError:
        raise BadDestination(f"'{host}' is no address; write four decimal numbers, or IPv6 in brackets") from None
    return host


def _literal(host: str) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        return []


def _check(destination: Destination, address: Address, networks: tuple[Network, ...]) -> None:
    """Refuse an address that is neither public nor listed; which one it is, is not said: it may be of our own net."""
    if is_in(address, networks):
        return
    if destination.scheme == "http":
        raise BadDestination("it must begin with https://")
    if not is_public(address):
        text = (
            f"'{destination.host}' leads to an address that is not of the public internet; webhooks go there only "
            "where the operator lists its network in L0_WEBHOOK_ALLOWED_NETWORKS"
        )
        raise BadDestination(text)
