"""A store in a local folder: temporary file, fsync, rename."""

import fcntl
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from service.storage.base import StoredKey, checked_key, checked_prefix

_INCOMING = "incoming"


class FolderStore:
    """Bytes by key below `root`; files on their way in live in `root`/incoming."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path) -> None:
        """Take the file `source` under `key`: it is synced, then renamed into place.

        The same bytes may come again under their key; others raise FileExistsError.
        """
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._staged(source) as staged:
            _sync(staged)
            if not _placed(staged, target) and not filecmp.cmp(staged, target, shallow=False):
                raise FileExistsError(f"the store holds other bytes under {key}")
        _sync(target.parent)

    def open(self, key: str) -> BinaryIO:
        """Open the bytes for reading."""
        try:
            return self._path(key).open("rb")
        except FileNotFoundError:
            raise KeyError(key) from None

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give the path of the bytes."""
        path = self._path(key)
        if not path.exists():
            raise KeyError(key)
        yield path

    def delete(self, key: str) -> None:
        """Forget the bytes."""
        self._path(key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[StoredKey]:
        """Give every key that begins with `prefix`, by a walk through the folders it names."""
        above = checked_prefix(prefix).rpartition("/")[0]
        for folder, below, names in os.walk(self._root / above):
            if Path(folder) == self._root and _INCOMING in below:
                below.remove(_INCOMING)
            for path in (Path(folder) / name for name in names):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        yield _stored(key, path.stat())

    def scratch(self) -> Path:
        """Give the folder of files on their way in."""
        folder = self._root / _INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def check_writable(self) -> None:
        """Write and delete a few bytes."""
        with tempfile.NamedTemporaryFile(dir=self.scratch()) as file:
            file.write(b"ready")

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    @contextmanager
    def _staged(self, source: Path) -> Iterator[Path]:
        """Give `source` itself where it stands on this disk, else a copy that does; neither is there afterwards.

        The copy of a file in a folder below stands beside it, so that who clears that folder clears the copy too.
        """
        scratch = self.scratch()
        if source.parent == scratch:
            staged = source
        else:
            handle, name = tempfile.mkstemp(dir=source.parent if source.is_relative_to(scratch) else scratch)
            os.close(handle)
            staged = Path(name)
        try:
            if staged != source:
                shutil.copyfile(source, staged)
            yield staged
        finally:
            staged.unlink(missing_ok=True)


def _placed(staged: Path, target: Path) -> bool:
    """Rename into place unless something is there; a lock on the folder lets one look and rename at a time."""
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: two at the same instant are told apart no more
            fcntl.flock(handle, fcntl.LOCK_EX)
        if target.exists():
            return False
        staged.replace(target)
        return True
    finally:
        os.close(handle)


def _stored(key: str, found: os.stat_result) -> StoredKey:
    return StoredKey(key=key, size_bytes=found.st_size, modified_at=datetime.fromtimestamp(found.st_mtime, UTC))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
