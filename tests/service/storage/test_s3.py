"""What only a bucket does: ranges, parts, a server that is away, silent, full or strange."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.settings import Settings
from service.storage import Store, StoreUnavailable, open_store
from service.storage.forgetting import forget
from service.storage.s3 import S3Store
from service.storage.s3_client import connected, told_as_os_errors
from tests.buckets import Bucket
from tests.lines import Line
from tests.service.jobs.waiting import until
from tests.service.storage.bytes_of import keys, left, read
from tests.service.storage.conftest import Opened

Elsewhere = Callable[..., Path]
MANY = 2**25 + 1  # five parts


@pytest.fixture
def at_the_end_of_the_line(line: Line, bucket: Bucket, tmp_path: Path) -> Store:
    """The store, reached by that line; it may be silent for a second."""
    settings = bucket.settings(Settings(data_dir=tmp_path / "data"), line.url, storage_timeout_seconds=1)
    return open_store(settings)


@contextmanager
def requests(bucket: Bucket, operation: str) -> Iterator[list[dict[str, Any]]]:
    """Collect what the bucket's client asks for."""
    asked: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(dict(params))

    name = f"provide-client-params.s3.{operation}"
    bucket.client.meta.events.register(name, note)
    yield asked
    bucket.client.meta.events.unregister(name, note)


@pytest.fixture
def watched(bucket: Bucket, tmp_path: Path) -> S3Store:
    """A store whose requests can be collected."""
    return bucket.store(tmp_path / "scratch", prefix="")


def asked_bytes(asked: list[dict[str, Any]]) -> int:
    ranges = (params["Range"].removeprefix("bytes=").split("-") for params in asked)
    return sum(int(last) - int(first) + 1 for first, last in ranges)


def test_a_few_bytes_of_a_large_object_cost_a_small_answer(
    watched: S3Store, bucket: Bucket, elsewhere: Elsewhere
) -> None:
    data = os.urandom(MANY)
    watched.put("uploads/a", elsewhere(data))
    with requests(bucket, "GetObject") as asked, watched.open("uploads/a") as file:
        file.seek(10**7)
        assert file.read(100) == data[10**7 : 10**7 + 100]
    assert asked_bytes(asked) <= 2**20


def test_a_whole_object_is_asked_for_once_in_few_requests(
    watched: S3Store, bucket: Bucket, elsewhere: Elsewhere
) -> None:
    data = os.urandom(MANY)
    watched.put("uploads/a", elsewhere(data))
    with requests(bucket, "GetObject") as asked, watched.open("uploads/a") as file:
        assert file.read() == data
    assert asked_bytes(asked) == MANY
    assert len(asked) <= 6


def test_a_large_file_comes_in_parts_and_none_is_left(bucket: Bucket, watched: S3Store, elsewhere: Elsewhere) -> None:
    with requests(bucket, "UploadPart") as asked:
        watched.put("uploads/a", elsewhere(bytes(MANY)))
    assert len(asked) == 5
    assert bucket.unfinished == []


@pytest.mark.parametrize(("size", "last_step"), [(10, "PutObject"), (MANY, "CompleteMultipartUpload")])
@pytest.mark.parametrize("first", [b"first", None])
def test_who_comes_too_late_takes_nothing_away(
    bucket: Bucket, watched: S3Store, elsewhere: Elsewhere, size: int, last_step: str, first: bytes | None
) -> None:
    other, source = connected(bucket.url, 30.0), elsewhere(bytes(size))

    def overtake(**_: Any) -> None:
        other.put_object(Bucket=bucket.name, Key="uploads/a", Body=first or bytes(size))

    bucket.client.meta.events.register_first(f"before-call.s3.{last_step}", overtake)
    try:
        with nullcontext() if first is None else pytest.raises(FileExistsError):  # the same bytes may come twice
            watched.put("uploads/a", source)
    finally:
        bucket.client.meta.events.unregister(f"before-call.s3.{last_step}", overtake)
    assert read(watched, "uploads/a") == (first or bytes(size))
    assert bucket.unfinished == []


def test_two_prefixes_of_one_bucket_are_two_stores(bucket: Bucket, tmp_path: Path, elsewhere: Elsewhere) -> None:
    one, two = (bucket.store(tmp_path / "scratch", prefix) for prefix in ("one/", "one/two"))
    one.put("uploads/a", elsewhere(b"1"))
    two.put("uploads/a", elsewhere(b"2"))
    assert (read(one, "uploads/a"), read(two, "uploads/a")) == (b"1", b"2")
    assert keys(two, "") == ["uploads/a"]
    assert bucket.names == ["one/two/uploads/a", "one/uploads/a"]


def test_bytes_that_another_program_copied_here_are_read_and_known_again(
    bucket: Bucket, watched: S3Store, elsewhere: Elsewhere
) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="uploads/a", Body=b"copied")
    with watched.local("uploads/a") as path:
        assert path.read_bytes() == b"copied"
    watched.put("uploads/a", elsewhere(b"copied"))
    with pytest.raises(FileExistsError):
        watched.put("uploads/a", elsewhere(b"others"))


def test_bytes_that_are_not_the_ones_that_were_stored_are_not_handed_out(bucket: Bucket, watched: S3Store) -> None:
    wrong = {"sha256": "0" * 64}
    bucket.client.put_object(Bucket=bucket.name, Key="uploads/a", Body=b"rotten", Metadata=wrong)
    with pytest.raises(StoreUnavailable, match="not the ones"), watched.local("uploads/a"):
        pass
    assert left(watched) == []


def test_an_object_that_changes_while_it_is_read_is_never_mixed(
    bucket: Bucket, watched: S3Store, elsewhere: Elsewhere
) -> None:
    watched.put("uploads/a", elsewhere(b"1" * MANY))
    with watched.open("uploads/a") as file:
        file.read(10)
        bucket.client.put_object(Bucket=bucket.name, Key="uploads/a", Body=b"2" * MANY)
        with pytest.raises(StoreUnavailable):
            file.read()


def test_a_server_that_is_away_is_said_to_be_so(
    line: Line, at_the_end_of_the_line: Store, elsewhere: Elsewhere
) -> None:
    store = at_the_end_of_the_line
    store.put("uploads/a", elsewhere())
    line.cut()
    for attempt in (
        lambda: store.put("uploads/b", elsewhere()),
        lambda: store.open("uploads/a"),
        lambda: store.delete("uploads/a"),
        lambda: keys(store, ""),
        store.check_writable,
    ):
        with pytest.raises(StoreUnavailable):
            attempt()
    forget(store, "uploads/a")
    line.join()
    assert keys(store, "") == ["uploads/a"]
    store.check_writable()


def test_a_server_that_is_silent_holds_nobody_for_ever(
    line: Line, at_the_end_of_the_line: Store, bucket: Bucket, elsewhere: Elsewhere
) -> None:
    store, data = at_the_end_of_the_line, os.urandom(MANY)
    store.put("uploads/a", elsewhere(data))
    with store.open("uploads/a") as file:
        file.read(10)
        line.silence()
        with pytest.raises(StoreUnavailable):
            file.read()
    with pytest.raises(StoreUnavailable):
        store.put("uploads/b", elsewhere(data))
    line.speak()
    assert keys(store, "uploads/") == ["uploads/a"]
    store.put("uploads/b", elsewhere(data))
    assert read(store, "uploads/b") == data
    assert bucket.unfinished == []


def test_a_read_goes_on_where_its_connection_broke(
    line: Line, at_the_end_of_the_line: Store, elsewhere: Elsewhere
) -> None:
    store, data = at_the_end_of_the_line, os.urandom(MANY)
    store.put("uploads/a", elsewhere(data))
    with store.open("uploads/a") as file:
        first = file.read(2**21 - 10)
        line.cut()
        line.join()
        assert first + file.read() == data


_PUT = """
import sys
from pathlib import Path
from service.settings import Settings
from service.storage import open_store
open_store(Settings()).put("uploads/a", Path(sys.argv[1]))
"""


def test_a_put_torn_by_a_kill_shows_nothing(
    in_bucket: Opened, bucket: Bucket, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    source, settings = elsewhere(os.urandom(2**26)), bucket.settings(Settings(data_dir=tmp_path / "data"))
    process = subprocess.Popen([sys.executable, "-c", _PUT, str(source)], env=settings.environment())
    until(lambda: bucket.unfinished)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert keys(in_bucket.store, "") == []
    in_bucket.store.put("uploads/a", source)
    assert keys(in_bucket.store, "") == ["uploads/a"]


def test_a_bucket_that_is_not_there_is_not_writable(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        S3Store(bucket.client, "no-such-bucket", "", tmp_path).check_writable()


@pytest.mark.parametrize(
    ("code", "status"), [("QuotaExceeded", 403), ("XMinioStorageFull", 507), ("InsufficientStorage", 507), ("", 507)]
)
def test_a_server_without_room_is_a_full_disk(code: str, status: int) -> None:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(OSError, match="full") as raised, told_as_os_errors("uploads/a"):
        raise ClientError(answer, "PutObject")
    assert not isinstance(raised.value, StoreUnavailable)


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown", "InternalError", "NoSuchBucket", "RequestTimeTooSkewed"])
def test_a_server_that_refuses_is_away(code: str) -> None:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(StoreUnavailable), told_as_os_errors("uploads/a"):
        raise ClientError(answer, "PutObject")
