"""Bytes on their way in: counted, hashed, compared, and gone without a trace unless they are kept."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.errors import DigestMismatch, PayloadTooLarge, StorageFull
from service.problems.models import Upload
from service.problems.uploads import Received, Receiver, check_digest, keep
from service.storage import FolderStore
from service.system import System
from tests.service.problems.files import NPY, NPZ, no_file_above


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "files")


def _received(store: FolderStore, chunks: list[bytes], limit: int = 10**9) -> Received:
    with Receiver(store, limit) as receiver:
        for chunk in chunks:
            receiver.write(chunk)
        received = receiver.finish(None)
        assert received.path.read_bytes() == b"".join(chunks)
        return received


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_what_arrives_is_counted_and_hashed_however_it_is_cut(folder: Path, chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    received = _received(FolderStore(folder), chunks)
    assert received.size_bytes == len(whole)
    assert received.sha256 == hashlib.sha256(whole).hexdigest()
    assert list(FolderStore(folder).scratch().iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


def test_the_limit_itself_is_allowed_and_one_byte_more_is_not(store: FolderStore) -> None:
    assert _received(store, [b"12345", b"67890"], limit=10).size_bytes == 10
    with pytest.raises(PayloadTooLarge, match="more than 10 bytes"):
        _received(store, [b"12345", b"67890", b"1"], limit=10)
    assert list(store.scratch().iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(store: FolderStore) -> None:
    with pytest.raises(ConnectionResetError), Receiver(store, 100) as receiver:
        receiver.write(b"half of ")
        assert len(list(store.scratch().iterdir())) == 1
        raise ConnectionResetError
    assert list(store.scratch().iterdir()) == []


@pytest.mark.parametrize("chunk_bytes", [1000, 2**16, 2**21])
def test_a_full_disk_is_said_and_nothing_is_left(store: FolderStore, chunk_bytes: int) -> None:
    with no_file_above(2**20), pytest.raises(StorageFull, match="no room left to store the upload"):
        _received(store, [bytes(chunk_bytes)] * (2**21 // chunk_bytes))
    assert list(store.scratch().iterdir()) == []


def _digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.mark.parametrize(
    "header",
    [
        _digest_of(b"data"),
        f"sha-512=:AAAA:, {_digest_of(b'data')}",
        f"{_digest_of(b'data')}, unixsum=:AAAA:",
        f"  {_digest_of(b'data')}  ",
        "sha-512=:AAAA:",
        "",
        None,
    ],
)
def test_a_right_digest_or_none_is_fine(header: str | None) -> None:
    check_digest(header, hashlib.sha256(b"data").digest())


@pytest.mark.parametrize(
    "header",
    [
        _digest_of(b"other"),
        f"sha-512=:AAAA:, {_digest_of(b'other')}",
        "sha-256=:AAAA:",
    ],
)
def test_a_wrong_digest_is_refused(header: str) -> None:
    with pytest.raises(DigestMismatch):
        check_digest(header, hashlib.sha256(b"data").digest())


@pytest.mark.parametrize(
    "header", ["sha-256=:not base64!:", "sha-256=::", "sha-256=abc", f"sha-256={hashlib.sha256(b'other').hexdigest()}"]
)
def test_a_digest_that_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(DigestMismatch):
        check_digest(header, hashlib.sha256(b"data").digest())


def test_the_same_bytes_are_kept_once_however_many_bring_them(system: System) -> None:
    def bring(_: int) -> tuple[str, bool]:
        with Receiver(system.store, 100) as receiver:
            receiver.write(b"the same")
            upload, is_new = keep(system, "tenant", receiver.finish(None), NPY)
            return upload.id, is_new

    with ThreadPoolExecutor(16) as pool:
        kept = list(pool.map(bring, range(32)))
    assert len({upload_id for upload_id, _ in kept}) == 1
    assert sum(is_new for _, is_new in kept) == 1
    assert _stored(system) == [kept[0][0]]
    assert list(system.store.scratch().iterdir()) == []


def test_tenants_and_content_types_do_not_share_uploads(system: System) -> None:
    ids = set()
    for tenant, content_type in (("a", NPY), ("b", NPY), ("a", NPZ)):
        with Receiver(system.store, 100) as receiver:
            receiver.write(b"the same")
            upload, is_new = keep(system, tenant, receiver.finish(None), content_type)
            assert is_new
            ids.add(upload.id)
    assert sorted(ids) == _stored(system)


def _stored(system: System) -> list[str]:
    """Give the ids that are listed, having checked that the store holds the same files."""
    with system.database.reading() as session:
        listed = sorted(session.scalars(select(Upload.id)))
    assert sorted(path.name for path in (system.settings.storage / "uploads").iterdir()) == listed
    return listed
