"""The law of stores, on the local folder: what is there can be read back whole, whatever broke off on the way."""

import contextlib
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage import FolderStore, Store
from service.storage.base import checked_key
from tests.service.problems.files import no_file_above


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "files")


def _incoming(store: FolderStore, data: bytes = b"bytes") -> Path:
    path = store.scratch() / "on-its-way"
    path.write_bytes(data)
    return path


def _elsewhere(tmp_path: Path, data: bytes = b"bytes") -> Path:
    path = tmp_path / "source"
    path.write_bytes(data)
    return path


def _read(store: Store, key: str) -> bytes:
    with store.open(key) as file:
        return file.read()


def test_what_was_put_is_read_back(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path, b"one"))
    store.put("jobs/x/y/b.npy", _incoming(store, b"two"))
    assert _read(store, "uploads/a") == b"one"
    with store.local("jobs/x/y/b.npy") as path:
        assert path.read_bytes() == b"two"


def test_another_store_on_the_same_folder_sees_it(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path))
    assert _read(FolderStore(tmp_path / "files"), "uploads/a") == b"bytes"


def test_nothing_stays_behind_in_scratch(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path))
    store.put("uploads/b", _incoming(store))
    store.check_writable()
    assert list(store.scratch().iterdir()) == []


def test_a_source_from_elsewhere_is_left_where_it_was(store: FolderStore, tmp_path: Path) -> None:
    source = _elsewhere(tmp_path)
    store.put("uploads/a", source)
    assert source.read_bytes() == b"bytes"


@pytest.mark.parametrize("key", ["uploads/nobody", "jobs/no/such/file"])
def test_a_key_that_was_never_put_is_a_key_error(store: FolderStore, key: str) -> None:
    with pytest.raises(KeyError):
        store.open(key)
    with pytest.raises(KeyError), store.local(key):
        pass


def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path))
    store.put("uploads/b", _elsewhere(tmp_path))
    store.delete("uploads/a")
    store.delete("uploads/a")
    with pytest.raises(KeyError):
        store.open("uploads/a")
    assert _read(store, "uploads/b") == b"bytes"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a",
        "/etc/passwd",
        "../a/b",
        "a/../../b",
        "a/..",
        "a//b",
        "a/b/",
        "a/.hidden",
        "a/b..c",
        "a\\b/c",
        "C:/b",
        "a/b\0",
        "a/b\n",
        "a/b c",
        "a/é",
        "A/b",
    ],
)
def test_a_key_that_could_leave_the_store_is_refused(store: FolderStore, tmp_path: Path, key: str) -> None:
    source = _elsewhere(tmp_path)
    with pytest.raises(ValueError, match="not a storage key"):
        store.put(key, source)
    with pytest.raises(ValueError, match="not a storage key"):
        store.open(key)
    with pytest.raises(ValueError, match="not a storage key"):
        store.delete(key)
    assert source.exists()


@given(st.text(st.characters(codec="utf-8"), max_size=30) | st.from_regex(r"[a-z/.]{1,20}", fullmatch=True))
def test_a_key_that_is_taken_stays_below_the_root(key: str) -> None:
    try:
        taken = checked_key(key)
    except ValueError:
        return
    root = Path("/store")
    assert (root / taken).resolve().is_relative_to(root)
    assert len((root / taken).parts) > 3


def test_a_full_disk_leaves_the_key_unknown(store: FolderStore, tmp_path: Path) -> None:
    source = _elsewhere(tmp_path, bytes(2**21))
    with no_file_above(2**20), pytest.raises(OSError, match="File too large"):
        store.put("uploads/a", source)
    with pytest.raises(KeyError):
        store.open("uploads/a")


def test_a_full_disk_leaves_nothing_in_scratch(store: FolderStore, tmp_path: Path) -> None:
    source = _elsewhere(tmp_path, bytes(2**21))
    with no_file_above(2**20), pytest.raises(OSError, match="File too large"):
        store.put("uploads/a", source)
    assert list(store.scratch().iterdir()) == []


def test_a_source_that_is_not_there_leaves_nothing_in_scratch(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("uploads/a", tmp_path / "nothing")
    assert list(store.scratch().iterdir()) == []


def test_a_key_never_changes_its_bytes(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path, b"one"))
    with contextlib.suppress(FileExistsError):
        store.put("uploads/a", _elsewhere(tmp_path, b"two"))
    assert _read(store, "uploads/a") == b"one"


_PUT_FOR_EVER = """
import itertools, sys
from pathlib import Path
from service.storage import FolderStore
store = FolderStore(Path(sys.argv[1]))
for number in itertools.count():
    store.put(f"uploads/{number}", Path(sys.argv[2]))
"""


def test_a_put_torn_by_a_kill_shows_nothing_half_written(store: FolderStore, tmp_path: Path) -> None:
    source = _elsewhere(tmp_path, b"0123456789abcdef" * 2**18)  # 4 MB: most kills hit a copy
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", _PUT_FOR_EVER, str(tmp_path / "files"), str(source)])
        while process.poll() is None and not any(store.scratch().iterdir()):
            pass
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = list((tmp_path / "files" / "uploads").glob("*"))
        assert all(path.read_bytes() == source.read_bytes() for path in kept)
        for path in [*kept, *store.scratch().iterdir()]:
            path.unlink()


def test_a_store_on_no_folder_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        FolderStore(tmp_path / "file" / "store").check_writable()


def _keys(store: Store, prefix: str) -> list[str]:
    return sorted(found.key for found in store.keys(prefix))


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["jobs/x/1/a", "jobs/x/2/a", "jobs/y/1/a", "uploads/a", "uploads/b"]),
        ("uploads/", ["uploads/a", "uploads/b"]),
        ("uploads/a", ["uploads/a"]),
        ("jobs/x", ["jobs/x/1/a", "jobs/x/2/a"]),
        ("jobs/x/2/", ["jobs/x/2/a"]),
        ("problems/", []),
        ("u", ["uploads/a", "uploads/b"]),
    ],
)
def test_exactly_the_keys_that_begin_so_are_listed(
    store: FolderStore, tmp_path: Path, prefix: str, found: list[str]
) -> None:
    for key in ("uploads/a", "uploads/b", "jobs/x/1/a", "jobs/x/2/a", "jobs/y/1/a"):
        store.put(key, _elsewhere(tmp_path))
    _incoming(store)
    assert _keys(store, prefix) == found


def test_a_listed_key_tells_its_size_and_when_it_came(store: FolderStore, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    store.put("uploads/a", _elsewhere(tmp_path, b"seven b"))
    (listed,) = store.keys("")
    assert listed.size_bytes == 7
    assert abs((listed.modified_at - before).total_seconds()) < 600


def test_what_was_deleted_is_not_listed(store: FolderStore, tmp_path: Path) -> None:
    store.put("uploads/a", _elsewhere(tmp_path))
    store.delete("uploads/a")
    assert _keys(store, "") == []


@pytest.mark.parametrize("prefix", ["/etc", "..", "a/../..", "a//", "a b", "a/.h"])
def test_a_prefix_that_could_leave_the_store_is_refused(store: FolderStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="not the beginning of a storage key"):
        list(store.keys(prefix))
