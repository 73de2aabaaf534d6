"""Sound files with a few bytes changed: refused, or read as scipy and numpy read them; never anything else."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import L0Error
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import NPY, NPZ, ROOMY, TWO_BY_THREE, csr_with, members, npy, zipped

Changes = list[tuple[float, int]]
_changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)
_bounded = settings(max_examples=50, deadline=None, derandomize=True)


def changed(data: bytes, changes: Changes) -> bytes:
    """Give the bytes with some flipped: (place as a share of the length, bits to flip)."""
    mutable = bytearray(data)
    for place, bits in changes:
        mutable[int(place * len(mutable))] ^= bits
    return bytes(mutable)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations") / "upload"


@_bounded
@given(_changes)
def test_an_npz_with_changed_bytes(file: Path, changes: Changes) -> None:
    _refused_or_right(file, changed(csr_with(), changes), NPZ, _by_scipy)


@_bounded
@given(st.sampled_from(members()), _changes)
def test_an_npz_with_a_changed_member_and_a_right_check_sum(
    file: Path, member: tuple[str, bytes], changes: Changes
) -> None:
    parts = dict(members()) | {member[0]: changed(member[1], changes)}
    _refused_or_right(file, zipped(parts.items()), NPZ, _by_scipy)


@_bounded
@given(_changes)
def test_an_npy_with_changed_bytes(file: Path, changes: Changes) -> None:
    _refused_or_right(file, changed(npy(TWO_BY_THREE), changes), NPY, _by_numpy)


def _refused_or_right(
    file: Path, data: bytes, content_type: str, trusted: Callable[[bytes], NDArray[np.float64]]
) -> None:
    """Check the law; what else the reader may raise ends its process, which the sandbox answers with 422 too."""
    file.write_bytes(data)
    try:
        matrix, _ = canonical(formats.read_matrix(file, content_type, ROOMY, "/matrix"))
    except L0Error:
        return
    except Exception:  # noqa: BLE001 - test_npy lists those that are known
        return
    assert np.isfinite(matrix.data).all()
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(matrix @ np.ones(matrix.shape[1]), trusted(data))


def _by_scipy(data: bytes) -> NDArray[np.float64]:
    loaded: Any = sp.load_npz(io.BytesIO(data))
    matrix = loaded.tocsr().astype(np.float64)
    return np.asarray(matrix @ np.ones(matrix.shape[1]))


def _by_numpy(data: bytes) -> NDArray[np.float64]:
    matrix = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
    return np.asarray(matrix @ np.ones(matrix.shape[1]))
