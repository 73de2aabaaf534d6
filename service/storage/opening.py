"""Which store the settings name."""

from pathlib import Path

from service.settings import Settings
from service.storage.base import Store
from service.storage.folder import FolderStore


def open_store(settings: Settings, *, scratch: Path | None = None) -> Store:
    """Open the store of the settings.

    A store that is not on this machine keeps its files on their way in `scratch`, by default below `settings.storage`.
    """
    if not settings.storage_url:
        return FolderStore(settings.storage)
    from service.storage.s3 import S3Store  # noqa: PLC0415 - 0.9 s and 40 MB that a folder does not need
    from service.storage.s3_client import connected  # noqa: PLC0415

    bucket, _, prefix = settings.storage_url.removeprefix("s3://").partition("/")
    client = connected(settings.s3_endpoint_url, settings.storage_timeout_seconds)
    return S3Store(client, bucket, prefix, scratch or settings.storage / "incoming")
