"""A store in a bucket of an S3-compatible server, for machines that share no folder."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from service.storage.base import StoredKey, StoreUnavailable, checked_key, checked_prefix
from service.storage.s3_client import CONTESTED, code_of, told_as_os_errors
from service.storage.s3_object import Found, find, opened

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_PART_BYTES = 2**23
_MOST_PARTS = 10_000
_COPIED_BYTES = 2**20
_TRIES = 3
_PROBE = "checks/writable"


class S3Store:
    """Bytes by key in `bucket`, below `prefix`; files on their way lie in `scratch` on this machine.

    An object is written on the condition that there is none of its name, and carries its sha256.
    """

    def __init__(self, client: "S3Client", bucket: str, prefix: str, scratch: Path) -> None:
        self._client, self._bucket, self._scratch = client, bucket, scratch
        self._above = f"{prefix.strip('/')}/".lstrip("/")

    def put(self, key: str, source: Path) -> None:
        """Take the file `source` under `key`: in one request, or in parts that show when the last has arrived."""
        name = self._name(key)
        try:
            with source.open("rb") as file, told_as_os_errors(key):
                self._put_once(name, file, source.stat().st_size)
        finally:
            if source.parent == self._scratch:
                source.unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        """Open the bytes for reading; each read asks for little more than its own range."""
        return opened(self._client, find(self._client, self._bucket, self._name(key)))

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give the path of a copy, checked by its sha256 and removed at the end of the context."""
        found = find(self._client, self._bucket, self._name(key))
        with tempfile.NamedTemporaryFile(dir=self.scratch()) as copy:
            with opened(self._client, found) as source:
                shutil.copyfileobj(source, copy, _COPIED_BYTES)
            copy.flush()
            _check(Path(copy.name), found)
            yield Path(copy.name)

    def delete(self, key: str) -> None:
        """Forget the bytes."""
        with told_as_os_errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def keys(self, prefix: str) -> Iterator[StoredKey]:
        """Give every key that begins with `prefix`, a thousand a request."""
        pages = self._client.get_paginator("list_objects_v2")
        asked = pages.paginate(Bucket=self._bucket, Prefix=self._above + checked_prefix(prefix))
        with told_as_os_errors(prefix):
            for found in (found for page in asked for found in page.get("Contents", ())):
                key = found["Key"].removeprefix(self._above)
                yield StoredKey(key=key, size_bytes=found["Size"], modified_at=found["LastModified"])

    def scratch(self) -> Path:
        """Give the folder of files on their way."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch

    def check_writable(self) -> None:
        """Write a few bytes into the folder and into the bucket, and delete them."""
        with tempfile.NamedTemporaryFile(dir=self.scratch()) as file:
            file.write(b"ready")
        with told_as_os_errors(_PROBE):
            self._client.put_object(Bucket=self._bucket, Key=self._name(_PROBE), Body=b"ready")
        self.delete(_PROBE)

    def _name(self, key: str) -> str:
        return self._above + checked_key(key)

    def _put_once(self, name: str, file: BufferedReader, size_bytes: int) -> None:
        """Write the object unless these bytes are there already; looking first spares sending parts for nothing."""
        sha256 = _sha256(file)
        for _ in range(_TRIES):
            held = self._sha256_of(name)
            if held == sha256:
                return
            if held is not None:
                raise FileExistsError(f"the store holds other bytes under {name}")
            file.seek(0)
            if self._written(name, file, size_bytes, sha256):
                return
        raise StoreUnavailable(f"others write and delete {name} all the time")

    def _written(self, name: str, file: BufferedReader, size_bytes: int, sha256: str) -> bool:
        """Write the object; False where somebody else, or an earlier try of this request, has come first."""
        write = self._write_whole if size_bytes <= _PART_BYTES else self._write_parts
        try:
            write(name, file, size_bytes, {"sha256": sha256})
        except ClientError as error:
            if code_of(error) not in CONTESTED:
                raise
            return False
        return True

    def _write_whole(self, name: str, file: BufferedReader, _: int, metadata: dict[str, str]) -> None:
        body = BytesIO(file.read())
        self._client.put_object(Bucket=self._bucket, Key=name, Body=body, Metadata=metadata, IfNoneMatch="*")

    def _write_parts(self, name: str, file: BufferedReader, size_bytes: int, metadata: dict[str, str]) -> None:
        place: dict[str, Any] = {"Bucket": self._bucket, "Key": name}
        place["UploadId"] = self._client.create_multipart_upload(**place, Metadata=metadata)["UploadId"]
        try:
            parts = list(self._sent_parts(place, file, max(_PART_BYTES, -(-size_bytes // _MOST_PARTS))))
            self._client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            with suppress(BotoCoreError, ClientError):  # the bucket's lifecycle rule removes what cannot be removed now
                self._client.abort_multipart_upload(**place)
            raise

    def _sent_parts(
        self, place: dict[str, Any], file: BufferedReader, part_bytes: int
    ) -> Iterator["CompletedPartTypeDef"]:
        number = 1
        while data := file.read(part_bytes):
            sent = self._client.upload_part(**place, PartNumber=number, Body=BytesIO(data))
            yield {"PartNumber": number, "ETag": sent["ETag"]}
            number += 1

    def _sha256_of(self, name: str) -> str | None:
        """Give the sha256 of the bytes that are there, None where there are none."""
        try:
            found = find(self._client, self._bucket, name)
            if found.sha256 is not None:
                return found.sha256
            with opened(self._client, found) as file:
                return _sha256(file)
        except KeyError:
            return None


def _sha256(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _check(copy: Path, found: Found) -> None:
    with copy.open("rb") as file:
        arrived = _sha256(file)
    if found.sha256 not in (None, arrived):
        raise StoreUnavailable(f"the bytes of {found.name} that arrived are not the ones that were stored")
