"""Which addresses are of the public internet: IANA's registries of special-purpose addresses, as of 2026.

The list is our own: `ipaddress.is_global` changed its mind with Python's patch releases.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private (RFC 1918), like 172.16.0.0/12 and 192.168.0.0/16
        "100.64.0.0/10",  # behind a provider's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; 169.254.169.254 gives a cloud machine's credentials
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # examples, like 198.51.100.0/24 and 203.0.113.0/24
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # measurements
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")  # outside: loopback, IPv4-mapped, unique-local, link-local, multicast, ...
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo, which holds an IPv4 address
        "2001:db8::/32",  # examples
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # examples
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network that speaks IPv6 alone reaches the IPv4 address it ends in


def is_public(address: Address) -> bool:
    """Say whether an address is one of the public internet.

    >>> from ipaddress import ip_address
    >>> [is_public(ip_address(text)) for text in ("9.9.9.9", "10.0.0.1", "2620:fe::9", "64:ff9b::7f00:1", "::1")]
    [True, False, True, False, False]
    """
    if isinstance(address, IPv4Address):
        return not is_in(address, _NOT_PUBLIC_V4)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return address in _UNICAST_V6 and not is_in(address, _NOT_PUBLIC_V6)


def is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    """Say whether an address is in one of the networks."""
    return any(address in network for network in networks)
