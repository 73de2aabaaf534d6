"""Bytes by key. One law for all stores: what is listed can be read back whole."""

from service.storage.base import Store, StoredKey, StoreUnavailable
from service.storage.folder import FolderStore
from service.storage.opening import open_store

__all__ = ["FolderStore", "Store", "StoreUnavailable", "StoredKey", "open_store"]
