"""Buckets of a test's own on a real server, and what lies in them."""

import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.settings import Settings
from service.storage.s3 import S3Store
from service.storage.s3_client import connected

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@cache
def client_of(url: str) -> "S3Client":
    """Give the one client of a server: making one takes its time."""
    return connected(url, 30.0)


class Bucket:
    """An empty bucket on the server at `url`."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, f"l0-{uuid.uuid4().hex[:16]}"
        self.client = client_of(url)
        self.client.create_bucket(Bucket=self.name)

    def settings(self, of: Settings, url: str = "", prefix: str = "l0/files", **changes: Any) -> Settings:
        """Give these settings with their files in the bucket, perhaps at the end of a line."""
        changed = {
            "storage_url": f"s3://{self.name}/{prefix}".rstrip("/"),
            "s3_endpoint_url": url or self.url,
        }
        return Settings(**(of.model_dump(exclude_unset=True) | changed | changes))

    def store(self, scratch: Path, prefix: str = "l0/files") -> S3Store:
        """Give a store in it."""
        return S3Store(self.client, self.name, prefix, scratch)

    @property
    def names(self) -> list[str]:
        """The names of its objects."""
        listed = self.client.list_objects_v2(Bucket=self.name)
        return sorted(found["Key"] for found in listed.get("Contents", ()))

    @property
    def unfinished(self) -> list[str]:
        """The names of objects whose parts have begun to come."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]
