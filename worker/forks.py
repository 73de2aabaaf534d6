"""The nursery of engines: it has loaded every kind's engine, which takes seconds; a child's work is in `child`.

It computes nothing and asks for no card: threads of OpenMP or a CUDA context would not outlive a fork.
"""

import ctypes
import json
import os
import sys
from collections.abc import Sequence

from l0core.kinds import KINDS
from service.forking.forks import serve
from worker import child

LINES = 4
NAME = "l0-engine"  # of a child in the system's list of processes
_PR_SET_NAME = 15
_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = range(3)


def _load() -> None:
    for kind in KINDS.values():
        kind.problem_type()
        kind.engine()


def _live(lines: Sequence[int]) -> None:
    """Be an engine: its input says the environment, then the assignment."""
    told, report = lines
    os.setsid()
    os.dup2(told, _STANDARD_INPUT)
    os.close(told)
    os.dup2(_STANDARD_ERROR, _STANDARD_OUTPUT)
    _call_itself(NAME)
    environment = json.loads(sys.stdin.readline())
    os.environ.clear()
    os.environ.update(environment)
    child.main(report)


def _call_itself(name: str) -> None:
    """Have the system show this process by a name; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


if __name__ == "__main__":
    serve(_load, _live, lines=LINES)
