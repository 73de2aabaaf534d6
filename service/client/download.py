"""A file of a result on its way to disk: gone on with after a break, kept only if its digest is right."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Never

import httpx

from service.client.errors import DamagedDownload
from service.client.reading import Place, Reading

_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


class Download(Reading[Never]):
    """The bytes at a path of the service, on their way into `file`; `keep` or `drop` it when it is over."""

    def __init__(self, path: str, file: Path) -> None:
        self._path, self._file = path, file
        self._part = file.with_name(f".{file.name}.part")
        self._to = self._part.open("wb")
        self._etag = self._digest = ""
        self._sum = hashlib.sha256()

    def place(self) -> Place:
        """Ask for the file, or for the rest of it as long as it is the same."""
        headers = {"Accept-Encoding": "identity"}
        if self._etag and self._to.tell():
            headers |= {"Range": f"bytes={self._to.tell()}-", "If-Range": self._etag}
        return Place(path=self._path, headers=headers)

    def begin(self, reply: httpx.Response) -> None:
        """Go on with the rest, or begin anew where the whole comes."""
        if reply.status_code == 206:
            return
        self._to.seek(0)
        self._to.truncate()
        self._sum = hashlib.sha256()
        self._etag = reply.headers.get("ETag", "")
        found = _DIGEST.search(reply.headers.get("Content-Digest", ""))
        self._digest = found.group(1) if found else ""

    def feed(self, chunk: bytes) -> Iterator[Never]:
        """Write some bytes."""
        self._to.write(chunk)
        self._sum.update(chunk)
        return iter(())

    def end(self) -> None:
        """Note that all of it is here."""
        self.is_over = True

    def keep(self) -> Path:
        """Give the file its name, if its bytes are those the service has."""
        arrived = base64.b64encode(self._sum.digest()).decode()
        if self._digest and arrived != self._digest:
            raise DamagedDownload(f"{self._file.name}: sha-256 of what arrived is {arrived}, not {self._digest}")
        self._to.close()
        return self._part.replace(self._file)

    def drop(self) -> None:
        """Remove what is not kept."""
        self._to.close()
        self._part.unlink(missing_ok=True)
