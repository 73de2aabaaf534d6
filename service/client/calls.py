"""Requests as values, and the steps between them: what both clients share, without a byte sent.

An act of the client is a generator of `Steps`: it yields what shall be done and is sent what came of it. The clients
in `blocking` and `awaiting` do nothing but that.
"""

from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

from service.client.outgoing import Outgoing
from service.client.reading import Reading

T = TypeVar("T")
JsonObject = dict[str, Any]
Content: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A request, and how its reply is read.

    `accepted` are statuses of errors that `read` understands; `waits_seconds` is how long the service may take on
    purpose before it answers.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    content: Content | None = None
    file: Outgoing | None = None
    accepted: frozenset[int] = frozenset()
    waits_seconds: float = 0.0


@dataclass(frozen=True)
class Once:
    """Send a call once; answered by the reply, or by the error of a connection that broke."""

    call: Call[Any]


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Local(Generic[T]):
    """Do something slow on this machine: read a file, write an array."""

    run: Callable[[], T]


@dataclass(frozen=True)
class Drain:
    """Read a stream to its end."""

    reading: "Reading[Any]"


Effect: TypeAlias = Call[Any] | Once | Pause | Local[Any] | Drain
Steps: TypeAlias = Generator[Effect, Any, T]


def ask(call: Call[T]) -> Steps[T]:
    """Send a call as often as it takes; gives what its reply is read as."""
    answer: T = yield call
    return answer


def locally(run: Callable[[], T]) -> Steps[T]:
    """Do something slow on this machine; gives what it gives."""
    answer: T = yield Local(run)
    return answer


def get(path: str, read: Callable[[httpx.Response], T], **query: object) -> Call[T]:
    """Give a GET; what is None in the query is left out."""
    return Call(method="GET", path=path, read=read, query=given(**query))


def given(**values: object) -> JsonObject:
    """Leave out what is None.

    >>> given(a=None, b=0)
    {'b': 0}
    """
    return {name: value for name, value in values.items() if value is not None}


def as_object(reply: httpx.Response) -> JsonObject:
    """Read a reply that is a JSON object."""
    body: JsonObject = reply.json()
    return body


def as_data(reply: httpx.Response) -> list[JsonObject]:
    """Read a reply that is a list under `data`."""
    rows: list[JsonObject] = reply.json()["data"]
    return rows


def as_id(reply: httpx.Response) -> str:
    """Read the id of what a reply tells of."""
    found: str = reply.json()["id"]
    return found


def as_nothing(_: httpx.Response) -> None:
    """Read nothing."""
