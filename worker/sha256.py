"""The digest of a file."""

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Give the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
