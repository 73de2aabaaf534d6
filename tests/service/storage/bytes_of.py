"""What lies in a store."""

from pathlib import Path

from service.storage import Store


def incoming(store: Store, data: bytes = b"bytes") -> Path:
    """Make a source in the store's own scratch."""
    path = store.scratch() / "on-its-way"
    path.write_bytes(data)
    return path


def read(store: Store, key: str) -> bytes:
    """Give the bytes."""
    with store.open(key) as file:
        return file.read()


def keys(store: Store, prefix: str) -> list[str]:
    """Give the keys that begin so, in order."""
    return sorted(found.key for found in store.keys(prefix))


def left(store: Store) -> list[Path]:
    """Give what lies in the scratch."""
    return list(store.scratch().iterdir())
