"""A reply that is read while it arrives, and taken up again where the connection broke."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a reading goes on: a GET of this path."""

    path: str
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Reading(ABC, Generic[T_co]):
    """What comes of a stream of bytes; `is_over` once nothing more is to come."""

    is_over: bool = False

    @abstractmethod
    def place(self) -> Place:
        """Tell what to ask for, the first time and after every break."""

    @abstractmethod
    def begin(self, reply: httpx.Response) -> None:
        """Look at the head of a reply that is no error."""

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterable[T_co]:
        """Take some bytes; gives what is complete by them."""

    @abstractmethod
    def end(self) -> None:
        """Note that a reply has come to its end unbroken."""
