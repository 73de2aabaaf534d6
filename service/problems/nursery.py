"""The nursery of this process for those that parse: a child for each request. `forks` is what it runs."""

import os

from service.forking.nursery import Nursery
from service.problems.lines import LOST, Ended, laid

_SECRET = ("AWS_", "L0_", "PG")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_START_SECONDS = 60.0


def ask(nursery: Nursery, request: bytes, seconds: float) -> Ended:
    """Give what a child of its own makes of a request; TimeoutError after `seconds`, with the child killed.

    A nursery that dies before the child begins is started anew, once; a child whose nursery dies is lost.
    """
    for _ in range(2):
        with laid() as lines:
            nursery.hand_over(lines.numbers, ready_within=_START_SECONDS)
            ended = lines.ask(request, seconds)
        if ended is not None:
            return ended
    return LOST


def of_parsers() -> Nursery:
    """Give a nursery for those that parse: without the keys to store and database, since they read untrusted bytes."""
    return Nursery("service.problems.forks", _environment)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)} | _ONE_THREAD


nursery = of_parsers().owned()
