"""The law of stores, on each of them: what is there can be read back whole, and never changes."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage import Store
from service.storage.base import checked_key
from tests.service.storage.bytes_of import incoming, keys, left, read
from tests.service.storage.conftest import Opened

Elsewhere = Callable[..., Path]


def test_what_was_put_is_read_back(store: Store, elsewhere: Elsewhere) -> None:
    store.put("uploads/a", elsewhere(b"one"))
    store.put("jobs/x/y/b.npy", incoming(store, b"two"))
    assert read(store, "uploads/a") == b"one"
    with store.local("jobs/x/y/b.npy") as path:
        assert path.read_bytes() == b"two"


def test_another_process_with_the_same_settings_sees_it(opened: Opened, elsewhere: Elsewhere) -> None:
    opened.store.put("uploads/a", elsewhere())
    assert read(opened.open(), "uploads/a") == b"bytes"


def test_nothing_stays_behind_in_scratch(store: Store, elsewhere: Elsewhere) -> None:
    store.put("uploads/a", elsewhere())
    store.put("uploads/b", incoming(store))
    store.check_writable()
    assert left(store) == []


def test_a_source_from_elsewhere_is_left_where_it_was(store: Store, elsewhere: Elsewhere) -> None:
    source = elsewhere()
    store.put("uploads/a", source)
    assert source.read_bytes() == b"bytes"


@pytest.mark.parametrize("key", ["uploads/nobody", "jobs/no/such/file"])
def test_a_key_that_was_never_put_is_a_key_error(store: Store, key: str) -> None:
    with pytest.raises(KeyError):
        store.open(key)
    with pytest.raises(KeyError), store.local(key):
        pass


def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: Store, elsewhere: Elsewhere) -> None:
    store.put("uploads/a", elsewhere())
    store.put("uploads/b", elsewhere())
    store.delete("uploads/a")
    store.delete("uploads/a")
    with pytest.raises(KeyError):
        store.open("uploads/a")
    assert read(store, "uploads/b") == b"bytes"


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
def test_a_key_that_could_leave_the_store_is_refused(store: Store, elsewhere: Elsewhere, key: str) -> None:
    source = elsewhere()
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


def test_a_source_that_is_not_there_leaves_nothing_in_scratch(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("uploads/a", tmp_path / "nothing")
    assert left(store) == []


@pytest.mark.parametrize("size", [3, 2**23 + 1])
def test_a_key_never_changes_its_bytes(store: Store, elsewhere: Elsewhere, size: int) -> None:
    one, two = b"1" * size, b"2" * size
    store.put("uploads/a", elsewhere(one))
    with pytest.raises(FileExistsError):
        store.put("uploads/a", elsewhere(two))
    with pytest.raises(FileExistsError):
        store.put("uploads/a", incoming(store, two))
    assert read(store, "uploads/a") == one
    assert left(store) == []


@pytest.mark.parametrize("size", [0, 3, 2**23 + 1])
def test_the_same_bytes_may_come_again(store: Store, elsewhere: Elsewhere, size: int) -> None:
    for _ in range(2):
        store.put("uploads/a", elsewhere(b"1" * size))
    assert read(store, "uploads/a") == b"1" * size


def test_a_file_is_read_at_any_place(store: Store, elsewhere: Elsewhere) -> None:
    data = os.urandom(3 * 2**20)
    store.put("uploads/a", elsewhere(data))
    with store.open("uploads/a") as file:
        for first, count in ((2**20 - 3, 10), (5, 2**21), (0, 1), (len(data) - 4, 100), (len(data), 1)):
            assert file.seek(first) == first
            assert file.read(count) == data[first : first + count]
        assert file.seek(-7, os.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]


def test_an_array_is_loaded_from_an_open_file(store: Store, tmp_path: Path) -> None:
    values = np.random.default_rng(1).random(300_000)
    np.save(tmp_path / "values.npy", values)
    store.put("jobs/x/values.npy", tmp_path / "values.npy")
    with store.open("jobs/x/values.npy") as file:
        assert np.array_equal(np.load(file, allow_pickle=False), values)


def test_a_local_path_is_there_for_the_time_of_the_context_and_leaves_nothing(
    store: Store, elsewhere: Elsewhere
) -> None:
    store.put("uploads/a", elsewhere(b"0123456789" * 10**6))
    with store.local("uploads/a") as path:
        assert path.read_bytes() == b"0123456789" * 10**6
    assert left(store) == []
    assert read(store, "uploads/a")[:10] == b"0123456789"


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
    store: Store, elsewhere: Elsewhere, prefix: str, found: list[str]
) -> None:
    for key in ("uploads/a", "uploads/b", "jobs/x/1/a", "jobs/x/2/a", "jobs/y/1/a"):
        store.put(key, elsewhere())
    incoming(store)
    assert keys(store, prefix) == found


def test_a_listed_key_tells_its_size_and_when_it_came(store: Store, elsewhere: Elsewhere) -> None:
    before = datetime.now(UTC)
    store.put("uploads/a", elsewhere(b"seven b"))
    (listed,) = store.keys("")
    assert listed.size_bytes == 7
    assert abs((listed.modified_at - before).total_seconds()) < 600


def test_what_was_deleted_is_not_listed(store: Store, elsewhere: Elsewhere) -> None:
    store.put("uploads/a", elsewhere())
    store.delete("uploads/a")
    assert keys(store, "") == []


@pytest.mark.parametrize("prefix", ["/etc", "..", "a/../..", "a//", "a b", "a/.h"])
def test_a_prefix_that_could_leave_the_store_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="not the beginning of a storage key"):
        list(store.keys(prefix))
