"""Buckets of a test's own on a real server, and what lies in them."""

import itertools
from typing import Any

from service.settings import Settings
from service.storage import Store, open_store
from service.storage.s3_client import connected

SECONDS = 2.0  # of silence that a store may keep in tests; nothing is measured against it
_numbers = itertools.count(1)


class Bucket:
    """An empty bucket on the server at `url`."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, f"bucket-{next(_numbers)}"
        self.client = connected(url, 30.0)
        self.client.create_bucket(Bucket=self.name)

    def settings(self, of: Settings, url: str = "", prefix: str = "l0/files", **changes: Any) -> Settings:
        """Give these settings with their files in the bucket, perhaps at the end of a line."""
        changed = {
            "storage_url": f"s3://{self.name}/{prefix}".rstrip("/"),
            "s3_endpoint_url": url or self.url,
            "storage_timeout_seconds": SECONDS,
        }
        return Settings(**(of.model_dump(exclude_unset=True) | changed | changes))

    def store(self, of: Settings, url: str = "") -> Store:
        """Open the store in it."""
        return open_store(self.settings(of, url))

    @property
    def names(self) -> list[str]:
        """The names of its objects."""
        listed = self.client.list_objects_v2(Bucket=self.name)
        return sorted(found["Key"] for found in listed.get("Contents", ()))

    @property
    def unfinished(self) -> list[str]:
        """The names of objects whose parts have begun to come."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]
