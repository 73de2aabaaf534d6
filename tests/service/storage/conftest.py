"""Every store, empty, and what another process with the same settings sees of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.storage import FolderStore, Store
from tests.buckets import Bucket


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A store under test, and how another process opens it."""

    store: Store
    open: Callable[[], Store]


@pytest.fixture
def folder(tmp_path: Path) -> Opened:
    """The store in a folder."""
    return Opened(store=FolderStore(tmp_path / "files"), open=lambda: FolderStore(tmp_path / "files"))


@pytest.fixture
def in_bucket(tmp_path: Path, bucket: Bucket) -> Opened:
    """The store in that bucket."""
    return Opened(store=bucket.store(tmp_path / "scratch"), open=lambda: bucket.store(tmp_path / "other-scratch"))


@pytest.fixture(params=["folder", "in_bucket"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Each store: a test that asks runs on all."""
    made: Opened = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def store(opened: Opened) -> Store:
    """The same, to be used."""
    return opened.store


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., Path]:
    """Make a source that does not lie in the scratch of a store."""

    def made(data: bytes = b"bytes") -> Path:
        path = tmp_path / "source"
        path.write_bytes(data)
        return path

    return made
