"""Receivers of webhooks on loopback: one that answers as it is told, and sockets that misbehave."""

import base64
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

HERE = "127.0.0.0/8"


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The message's id."""
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """Say whether one of the signatures is of this secret; written from the specification, not from our code."""
        key = base64.b64decode(secret.split("_", 1)[1])
        text = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.{self.body.decode()}"
        expected = base64.standard_b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
        given = [part.split(",", 1) for part in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(value, expected) for version, value in given)


@dataclass
class Receiver:
    """A server that notes what comes and answers with the next of its statuses; the last one stays."""

    port: int
    statuses: list[int] = field(default_factory=lambda: [204])
    location: str = ""
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hooks?run=1"

    def next_status(self) -> int:
        """Give the status of the next answer."""
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def receiver(*statuses: int, context: ssl.SSLContext | None = None, location: str = "") -> Iterator[Receiver]:
    """Listen on loopback for the time of the context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    opened = Receiver(port=server.server_port, statuses=list(statuses) or [204], location=location)
    server.receiver = opened  # type: ignore[attr-defined]  # how a handler of http.server finds what it shares
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that mistrusts us hangs up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        shared: Receiver = self.server.receiver  # type: ignore[attr-defined]  # see above
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        shared.received.append(Received(method=self.command, path=self.path, headers=headers, body=body))
        self.send_response(shared.next_status())
        if shared.location:
            self.send_header("Location", shared.location)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def listening(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """Hand every connection to `serve`, each in a thread; gives the port."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    lines: list[socket.socket] = []

    def handle(line: socket.socket) -> None:
        with line, suppress(OSError):
            serve(line)

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                lines.append(line)
                threading.Thread(target=handle, args=(line,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        thread.join()


def resolve(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Let these names, and no other, lead to these addresses; gives the list of the names that were asked for."""
    asked: list[str] = []

    def answer(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr("service.webhooks.names.socket.getaddrinfo", answer)
    return asked


def trusted_context(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Give a server's context with a certificate for `name`, which this process trusts by SSL_CERT_FILE alone."""
    certificate = folder / f"{name}.pem"
    certificate.write_bytes(_certificate(name))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _certificate(name: str) -> bytes:
    """Give a key and a certificate that it has signed itself, in PEM."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = made.sign(key, hashes.SHA256())
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM)
