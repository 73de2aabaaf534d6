"""Deleting what nobody refers to any more."""

from service.logging import log
from service.storage.base import Store, StoreUnavailable


def forget(store: Store, key: str) -> None:
    """Delete the bytes; where the store is away they stay, which costs room and nothing else."""
    try:
        store.delete(key)
    except StoreUnavailable as error:
        log.warning("not_deleted", key=key, error=str(error))
