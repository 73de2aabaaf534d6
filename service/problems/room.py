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
        if error.errno not in _FULL:
            raise
        raise storage_full(what) from error


def storage_full(what: str) -> StorageFull:
    """Give the refusal of bytes that find no room."""
    return StorageFull(f"there is no room left to store {what}; try again later", headers={"Retry-After": "60"})
