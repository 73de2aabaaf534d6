"""What only a folder does: a full disk, a process killed in mid-copy, no folder at all."""

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.storage import FolderStore
from tests.service.problems.files import no_file_above
from tests.service.storage.bytes_of import left, read
from tests.service.storage.conftest import Opened

Elsewhere = Callable[..., Path]


def test_a_full_disk_leaves_the_key_unknown(folder: Opened, elsewhere: Elsewhere) -> None:
    store = folder.store
    source = elsewhere(bytes(2**21))
    with no_file_above(2**20), pytest.raises(OSError, match="File too large"):
        store.put("uploads/a", source)
    with pytest.raises(KeyError):
        store.open("uploads/a")


def test_a_full_disk_leaves_nothing_in_scratch(folder: Opened, elsewhere: Elsewhere) -> None:
    store = folder.store
    source = elsewhere(bytes(2**21))
    with no_file_above(2**20), pytest.raises(OSError, match="File too large"):
        store.put("uploads/a", source)
    assert left(store) == []


_PUT_FOR_EVER = """
import itertools, sys
from pathlib import Path
from service.storage import FolderStore
store = FolderStore(Path(sys.argv[1]))
for number in itertools.count():
    store.put(f"uploads/{number}", Path(sys.argv[2]))
"""


def test_a_put_torn_by_a_kill_shows_nothing_half_written(folder: Opened, tmp_path: Path, elsewhere: Elsewhere) -> None:
    store = folder.store
    source = elsewhere(b"0123456789abcdef" * 2**18)  # 4 MB: most kills hit a copy
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


def test_of_many_that_put_at_once_one_wins_and_its_bytes_are_whole(folder: Opened, tmp_path: Path) -> None:
    sources = [tmp_path / str(number) for number in range(8)]
    for number, source in enumerate(sources):
        source.write_bytes(bytes([number]) * 1000)

    def won(key: str, source: Path) -> bool:
        try:
            folder.open().put(key, source)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(len(sources)) as pool:
        for key in [f"uploads/{number}" for number in range(20)]:
            outcomes = pool.map(won, [key] * len(sources), sources)
            (winner,) = [source for source, has_won in zip(sources, outcomes, strict=True) if has_won]
            assert read(folder.store, key) == winner.read_bytes()
