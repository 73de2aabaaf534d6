"""Bytes by key. One law for all stores: what is listed can be read back whole."""

from service.storage.base import Store, StoredKey
from service.storage.folder import FolderStore

__all__ = ["FolderStore", "Store", "StoredKey"]
