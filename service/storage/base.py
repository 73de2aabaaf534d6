"""What every store can do. Keys are made by the server, never by a client."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

_KEY = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)+")
_PREFIX = re.compile(r"([a-z0-9_]+(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*/?)?")


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """One key that a store holds: how many bytes, and when they came (UTC)."""

    key: str
    size_bytes: int
    modified_at: datetime


class StoreUnavailable(OSError):
    """The store does not answer, or refuses what it is set up to take; the same may go well later."""


class Store(Protocol):
    """Bytes by key; a key once put never changes its bytes.

    Where there is no room any more, OSError has the number of a full disk; where the store is away, StoreUnavailable.
    """

    def put(self, key: str, source: Path) -> None:
        """Take the file `source` under `key`, whole and durable when this returns.

        A source in `scratch()` is gone after, one from elsewhere stays. The same bytes may come again under their key;
        others raise FileExistsError.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open the bytes for reading, at any place; KeyError where there are none."""
        ...

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give a path to the bytes on this machine for the time of the context."""
        ...

    def delete(self, key: str) -> None:
        """Forget the bytes; nothing happens where there are none."""
        ...

    def keys(self, prefix: str) -> Iterator[StoredKey]:
        """Give every key that begins with `prefix`, in any order; of those that come or go meanwhile, some or none."""
        ...

    def scratch(self) -> Path:
        """Give a folder of this machine for files on their way in."""
        ...

    def check_writable(self) -> None:
        """Write and delete a few bytes; raises where that fails."""
        ...


def checked_key(key: str) -> str:
    """Give the key back, or refuse one that could leave the store."""
    if not _KEY.fullmatch(key) or ".." in key:
        msg = f"not a storage key: {key!r}"
        raise ValueError(msg)
    return key


def checked_prefix(prefix: str) -> str:
    """Give the prefix back, or refuse one that could leave the store."""
    if not _PREFIX.fullmatch(prefix) or ".." in prefix:
        msg = f"not the beginning of a storage key: {prefix!r}"
        raise ValueError(msg)
    return prefix
