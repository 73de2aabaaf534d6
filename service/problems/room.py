"""A full disk is said as such, wherever bytes are written."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room(what: str) -> Iterator[None]:
    """Turn the error of a full disk into StorageFull; every other error stays what it is."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise storage_full(what) from error


def is_full(error: OSError) -> bool:
    """Say whether this is the error of a disk, a quota or a store that is full."""
    return error.errno in _FULL


def storage_full(what: str) -> StorageFull:
    """Give the refusal of bytes that find no room."""
    return StorageFull(f"there is no room left to store {what}; try again later", headers={"Retry-After": "60"})
