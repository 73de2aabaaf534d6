"""Temporary files that say whether their process lives: a lock on each, which the kernel lifts when the process dies.

A file or folder gets its name only once it is locked, so that one of these names without a lock is surely nobody's.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HELD = "held-"
_UNNAMED = "new-"


@contextmanager
def held_file(folder: Path) -> Iterator[Path]:
    """Give an empty file in `folder`; it is gone at the end, or once its process is dead and somebody looks."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=_UNNAMED)
    os.close(handle)
    with _held(Path(name)) as path:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder in `folder`; it is gone at the end, or once its process is dead and somebody looks."""
    with _held(Path(tempfile.mkdtemp(dir=folder, prefix=_UNNAMED))) as path:
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def is_abandoned(path: Path) -> bool:
    """Say whether a file or folder was held by a process that is dead."""
    if not path.name.startswith(HELD):
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # gone meanwhile
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or on a file system that cannot tell
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """Lock what was just made, then give it the name that says so."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: it is then never found to be abandoned
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield path.rename(path.with_name(HELD + path.name.removeprefix(_UNNAMED)))
    finally:
        os.close(handle)
