"""A pickle runs whatever its author likes when it is read: every reader names one and opens none."""

from typing import IO

from l0core.errors import InvalidInput

_FIRST_BYTE = b"\x80"  # of every protocol since the second


class PickleNotAllowed(InvalidInput):
    """A pickle, or an array of Python objects, which only a pickle can hold."""

    code = "pickle_not_allowed"


def refuse_pickle(stream: IO[bytes], *, name: str, instead: str, pointer: str) -> None:
    """Refuse a file that begins as a pickle does; one that does not is left at its beginning."""
    if stream.read(1) == _FIRST_BYTE:
        raise PickleNotAllowed(f"{name} is a pickle; pickles are never read: {instead}", pointer=pointer)
    stream.seek(0)
