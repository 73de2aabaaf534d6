"""The nursery of those that parse: it loads what parsing needs and knows no database; a child's work is in `child`.

Arrow is not loaded here, because it starts threads.
"""

import socket
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from l0core.kinds import KINDS
from service.forking.forks import serve
from service.problems import child

LINES = 3
_READERS = ("npy", "npz", "matrix_market", "safetensors")
_READ_BYTES = 2**16


def _load() -> None:
    """Load what a child would load late."""
    for kind in KINDS.values():
        kind.problem_type()
        if kind.question is not None:
            kind.question.answerer()
    for reader in _READERS:
        import_module(f"service.problems.formats.{reader}")


def _live(lines: Sequence[int]) -> None:
    """Answer the one request."""
    (number,) = lines
    with socket.socket(fileno=number) as talk:
        request = b"".join(iter(partial(talk.recv, _READ_BYTES), b""))
        talk.sendall(child.answer(request))


if __name__ == "__main__":
    serve(_load, _live, lines=LINES)
