"""Arrays this service wrote itself: read without suspicion, but never as a pickle."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def open_vector(path: Path) -> NDArray[np.float64]:
    """Map a .npy vector; nothing is read until it is used."""
    vector: NDArray[np.float64] = np.load(path, mmap_mode="r", allow_pickle=False)
    return vector


def open_records(path: Path) -> NDArray[np.void]:
    """Map a .npy of one axis with named fields; nothing is read until it is used."""
    records: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    return records


def save_vector(path: Path, vector: NDArray[np.float64]) -> None:
    """Write a vector as `open_vector` reads it."""
    np.save(path, vector, allow_pickle=False)


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Give an array as the bytes of a .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
