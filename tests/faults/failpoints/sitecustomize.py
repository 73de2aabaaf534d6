"""Loaded by Python itself in a process under test: kills that process before or after one of its durable acts.

A durable act is what others can see once it is done: a transaction committed, a file synced or renamed into place, an
id sent to the broker. L0TEST_DIE names one, `act@function#n:when`: the n-th time that `function` of ours does it,
`before` or `after`. L0TEST_DIES is a word of the command line of those who may die; L0TEST_ACTS is a file where each
act is told as it is done.
"""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

_DIE, _ACTS = os.environ.get("L0TEST_DIE", ""), os.environ.get("L0TEST_ACTS", "")
_OURS = tuple(str(Path(__file__).parents[3] / name) + os.sep for name in ("service", "worker", "l0core"))
_PLUMBING = tuple(_OURS[0] + name for name in ("db" + os.sep, "storage" + os.sep))
_done = Counter()


def _act(name, original):
    def act(*arguments, **options):
        place = f"{name}@{_function_of_ours()}"
        _done[place] += 1
        place = f"{place}#{_done[place]}"
        _die_at(f"{place}:before")
        with Path(_ACTS).open("a") as told:
            told.write(f"{place}\n")
        result = original(*arguments, **options)
        _die_at(f"{place}:after")
        return result

    return act


def _function_of_ours():
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OURS) and not path.startswith(_PLUMBING):
            return frame.f_code.co_name
        frame = frame.f_back
    return "nobody"


def _die_at(point):
    if point == _DIE:
        os.kill(os.getpid(), signal.SIGKILL)


if _ACTS and os.environ.get("L0TEST_DIES", "") in sys.orig_argv:
    os.fsync = _act("sync", os.fsync)
    os.replace = _act("rename", os.replace)
    if "worker.child" not in sys.orig_argv:  # the engine's process knows no database and no broker
        from celery import Celery
        from sqlalchemy.orm import Session

        Session.commit = _act("commit", Session.commit)
        Celery.send_task = _act("publish", Celery.send_task)
