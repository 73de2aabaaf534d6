"""URLs of webhooks: the one form that is taken, and where it may lead."""

import threading
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks import names
from service.webhooks.destinations import Destination, addresses_of, parse
from service.webhooks.errors import BadDestination
from tests.service.webhooks.receivers import resolve

HOME = (ip_network("127.0.0.0/8"),)

MISSHAPEN = {
    "no scheme": "example.org/hook",
    "no host": "https:///hook",
    "ftp": "ftp://example.org/",
    "file": "file:///etc/passwd",
    "javascript": "javascript:alert(1)",
    "gopher": "gopher://example.org:6379/_SET",
    "unix socket": "http+unix://%2Frun%2Fdocker.sock/",
    "user": "https://user@example.org/",
    "user and password": "https://user:pw@example.org/",
    "a second host": "https://example.org@127.0.0.1/",
    "a backslash": "https://example.org\\@127.0.0.1/",
    "a newline": "https://example.org/\r\nX-Evil: 1",
    "a newline in the host": "https://example.org\r\n.evil.org/",
    "a tab": "https://exam\tple.org/",
    "a space before": " https://example.org/",
    "a NUL": "https://example.org/\0",
    "a fragment": "https://example.org/#part",
    "circled letters": "https://\u24dbocalhost/",
    "full-width dots": "https://127\uff0e0\uff0e0\uff0e1/",
    "long s": "https://localho\u017ft/",
    "an umlaut": "https://b\u00fccher.example/",
    "a percent-encoded host": "https://%31%32%37.0.0.1/",
    "an empty label": "https://example..org/",
    "a dot at the end": "https://localhost./",
    "no port": "https://example.org:/",
    "a word for a port": "https://example.org:http/",
    "port 0": "https://example.org:0/",
    "port 65536": "https://example.org:65536/",
    "hexadecimal": "https://0x7f000001/",
    "one number": "https://2130706433/",
    "two numbers": "https://127.1/",
    "octal": "https://0177.0.0.1/",
    "hexadecimal in parts": "https://0x7f.0.0.0x1/",
    "five numbers": "https://1.2.3.4.5/",
    "a zone": "https://[fe80::1%25eth0]/",
    "IPv6 without brackets": "https://::1/",
    "half a bracket": "https://[::1/",
    "no IPv6": "https://[12345::]/",
    "a name in brackets": "https://[abc]/",
    "too long": f"https://example.org/{'a' * 1981}",
    "70 kB": f"https://example.org/{'a' * 70_000}",
}
INWARD = [
    "https://127.0.0.1", "https://127.255.255.254/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[fd00::1]/",
    "https://[fe80::1]/", "https://0.0.0.0/", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data",
    "https://224.0.0.1/", "https://192.168.1.1:8443/",
]  # fmt: skip


@pytest.mark.parametrize("case", MISSHAPEN)
def test_a_url_of_another_form_is_refused(case: str) -> None:
    with pytest.raises(BadDestination):
        parse(MISSHAPEN[case])


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://example.org", "example.org", 443, "/", "example.org"),
        ("HTTPS://Example.ORG/Hook", "example.org", 443, "/Hook", "example.org"),
        ("https://example.org:443/a", "example.org", 443, "/a", "example.org"),
        ("https://example.org:8443/a?b=c&d=%20", "example.org", 8443, "/a?b=c&d=%20", "example.org:8443"),
        ("https://a_b.xn--bcher-kva.example/", "a_b.xn--bcher-kva.example", 443, "/", "a_b.xn--bcher-kva.example"),
        ("https://[2620:FE::9]:80/", "2620:fe::9", 80, "/", "[2620:fe::9]:80"),
        ("https://9.9.9.9?x", "9.9.9.9", 443, "/?x", "9.9.9.9"),
    ],
)
def test_the_parts_of_a_url(url: str, host: str, port: int, target: str, authority: str) -> None:
    found = parse(url)
    assert found == Destination(scheme="https", host=host, port=port, target=target)
    assert found.authority == authority


def test_the_longest_url_is_taken() -> None:
    assert len(parse(f"https://example.org/{'a' * 1980}").target) == 1981


@given(st.text(max_size=50))
def test_no_text_breaks_the_request_line(text: str) -> None:
    try:
        found = parse(f"https://example.org/{text}")
    except BadDestination:
        return
    assert found.target.isascii()
    assert found.target.isprintable()
    assert " " not in found.target


@pytest.mark.parametrize("url", INWARD)
def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(BadDestination, match="not of the public internet"):
        addresses_of(parse(url), ())


def test_a_public_address_needs_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(monkeypatch, {})
    assert addresses_of(parse("https://9.9.9.9/"), ()) == [ip_address("9.9.9.9")]
    assert asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.7", "0.0.0.0"])
def test_a_name_that_leads_inward_is_refused_even_where_it_leads_outward_too(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    resolve(monkeypatch, {"metadata.internal": ["9.9.9.9", address]})
    with pytest.raises(BadDestination, match=r"metadata\.internal") as refused:
        addresses_of(parse("https://metadata.internal/"), ())
    assert address not in str(refused.value)


def test_localhost_is_refused() -> None:
    with pytest.raises(BadDestination, match="not of the public internet"):
        addresses_of(parse("https://localhost/"), ())


def test_a_name_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {})
    with pytest.raises(BadDestination, match=r"'nobody\.example' has no address"):
        addresses_of(parse("https://nobody.example/"), ())


@pytest.mark.parametrize("name", ["a" * 64, "a" * 300])
def test_a_name_that_no_name_server_may_be_asked_is_refused(name: str) -> None:
    with pytest.raises(BadDestination, match="has no address"):
        addresses_of(parse(f"https://{name}.example/"), ())


def test_a_name_server_that_hangs_is_waited_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr("service.webhooks.names.socket.getaddrinfo", lambda *_, **__: answered.wait() and [])
    with pytest.raises(BadDestination, match=r"could not be looked up in 0\.05 seconds"):
        names.look_up("slow.example", 443, 0.05)
    answered.set()


def test_plain_http_is_for_listed_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"public.example": ["9.9.9.9"], "both.example": ["127.0.0.1", "9.9.9.9"]})
    for host in ("public.example", "both.example", "9.9.9.9", "10.0.0.1"):
        for networks in ((), HOME):
            with pytest.raises(BadDestination, match="must begin with https://"):
                addresses_of(parse(f"http://{host}/"), networks)
    assert addresses_of(parse("http://127.0.0.1:9/"), HOME) == [ip_address("127.0.0.1")]


def test_a_listed_network_is_open_and_its_neighbour_is_not() -> None:
    assert addresses_of(parse("https://127.9.9.9/"), HOME) == [ip_address("127.9.9.9")]
    with pytest.raises(BadDestination):
        addresses_of(parse("https://10.0.0.1/"), HOME)
    with pytest.raises(BadDestination):
        addresses_of(parse("https://[::ffff:127.0.0.1]/"), HOME)
