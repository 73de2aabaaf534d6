"""Loaded by Python itself in the processes of test_torn_files: kills them at one chosen moment of a durable write.

L0TEST_CRASH says which: "moment name", the moment one of before_fsync, before_rename, after_rename (of the engine's
file of that name, on its way into the store) and after_commit (of the worker's transaction that fills that table).
Nobody dies before a checkpoint is listed: what is tested is that it outlives the crash.
"""

import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

_MOMENT, _, _NAME = os.environ.get("L0TEST_CRASH", "").partition(" ")
_DATABASE = os.environ.get("L0_DATABASE_URL", "").removeprefix("sqlite:///")
_real_copyfile, _real_fsync, _real_replace = shutil.copyfile, os.fsync, os.replace
_on_its_way: set[str] = set()


def _die_if(moment: str, path: str) -> None:
    if moment == _MOMENT and path in _on_its_way and _is_listed():
        from psutil import Process

        Process().parents()[1].kill()  # the worker, behind the nursery of its engines
        os.kill(os.getpid(), signal.SIGKILL)


def _is_listed() -> bool:
    with sqlite3.connect(_DATABASE) as database:
        return bool(database.execute("SELECT count(*) FROM checkpoints").fetchone()[0])


def _copyfile(source: Any, target: Any, **options: Any) -> Any:
    if Path(source).name == _NAME:
        _on_its_way.add(str(target))
    return _real_copyfile(source, target, **options)


def _fsync(handle: int) -> None:
    _die_if("before_fsync", str(Path(f"/proc/self/fd/{handle}").readlink()))
    _real_fsync(handle)


def _replace(source: Any, target: Any, **options: Any) -> None:
    _die_if("before_rename", str(source))
    _real_replace(source, target, **options)
    _die_if("after_rename", str(source))


def _die_after_commit() -> None:
    from sqlalchemy import Engine, event
    from sqlalchemy.orm import Session

    filled: list[str] = []

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(f"INSERT INTO {_NAME}"):
            filled.append(statement)

    def committed(_session: Session) -> None:
        if filled:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", executed)
    event.listen(Session, "after_commit", committed)


if _MOMENT == "after_commit":
    _die_after_commit()
elif _MOMENT:
    shutil.copyfile, os.fsync, os.replace = _copyfile, _fsync, _replace  # type: ignore[assignment]
