"""A copy of a service that keeps everything in one folder, taken while it runs: first the database, then the files.

The files come second: each is whole before the database lists it, never changes, and is deleted only after it is off
the list. So what the copied database lists is there, but for what was deleted while the files were copied: an old
checkpoint that a newer one replaced, or a result past its time. What came in between is merely unused.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from service.settings import Settings

_UNFINISHED = ".unfinished"
_ON_THEIR_WAY = "incoming"


class NoBackup(Exception):
    """The backup cannot be made; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What was copied where; `elsewhere` names the bucket whose files are to be copied by other means."""

    folder: Path
    database_bytes: int
    n_files: int
    files_bytes: int
    elsewhere: str = ""


def back_up(settings: Settings, folder: Path) -> Backup:
    """Copy database and files into `folder`, which must not exist; it appears once it is whole."""
    database = _database(settings)
    unfinished = folder.with_name(folder.name + _UNFINISHED)
    if folder.exists() or unfinished.exists():
        raise NoBackup(f"{folder} or {unfinished.name} beside it exists already; name a new folder, or remove them")
    unfinished.mkdir(parents=True, mode=0o700)
    _copy_database(database, unfinished / "l0.db")
    sizes = [] if settings.storage_url else list(_copy_files(settings.storage, unfinished / "files"))
    os.sync()
    unfinished.rename(folder)
    size = (folder / "l0.db").stat().st_size
    return Backup(
        folder=folder,
        database_bytes=size,
        n_files=len(sizes),
        files_bytes=sum(sizes),
        elsewhere=settings.storage_url,
    )


def _database(settings: Settings) -> Path:
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise NoBackup(
            "this copies a SQLite database; for PostgreSQL use pg_dump, then copy the files: docs/runbook.md"
        )
    path = Path(url.database)
    if not path.exists():
        raise NoBackup(f"there is no database {path}; name the service's folder with --data")
    return path


def _copy_database(source: Path, target: Path) -> None:
    """Copy one state of the database; who writes meanwhile does not wait."""
    with closing(sqlite3.connect(source, isolation_level=None)) as database:
        database.execute("VACUUM INTO ?", [str(target)])
    with closing(sqlite3.connect(target)) as copy:
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise NoBackup(f"the copy of the database is damaged: {verdict}")


def _copy_files(source: Path, target: Path) -> Iterator[int]:
    """Copy every stored file; gives the size of each."""
    target.mkdir()
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if name != _ON_THEIR_WAY]
        copies = target / Path(parent).relative_to(source)
        copies.mkdir(exist_ok=True)
        for name in names:
            with suppress(FileNotFoundError):  # deleted since: it is off the list
                shutil.copyfile(Path(parent) / name, copies / name)
                yield (copies / name).stat().st_size
