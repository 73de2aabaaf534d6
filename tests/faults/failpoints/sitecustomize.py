"""Loaded by Python itself in a process under test: kills that process before or after one of its public acts.

A public act is what others can see once it is done: a transaction committed, an id sent to the broker (files are
`crashing`'s affair). L0TEST_DIE names one, `act@function#n:when`: the n-th time that `function` of ours does it,
`before` or `after`. L0TEST_DIES is a word of the command line of those who may die.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_POINT = os.environ.get("L0TEST_DIE", "")
_OURS = tuple(str(Path(__file__).parents[3] / name) + os.sep for name in ("service", "worker"))
_PLUMBING = _OURS[0] + "db" + os.sep
_done: Counter[str] = Counter()


def _act(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def act(*arguments: Any, **options: Any) -> Any:
        place = f"{name}@{_function_of_ours()}"
        _done[place] += 1
        _die_at(f"{place}#{_done[place]}:before")
        result = original(*arguments, **options)
        _die_at(f"{place}#{_done[place]}:after")
        return result

    return act


def _function_of_ours() -> str:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OURS) and not path.startswith(_PLUMBING):
            return frame.f_code.co_name
        frame = frame.f_back
    return "nobody"


def _die_at(point: str) -> None:
    if point == _POINT:
        os.kill(os.getpid(), signal.SIGKILL)


if _POINT and os.environ.get("L0TEST_DIES", "") in sys.orig_argv:
    from celery import Celery
    from sqlalchemy.orm import Session

    setattr(Session, "commit", _act("commit", Session.commit))  # noqa: B010 - a class of somebody else's
    setattr(Celery, "send_task", _act("publish", Celery.send_task))  # noqa: B010
