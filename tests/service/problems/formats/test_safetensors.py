"""safetensors from strangers: the header's promises are held against the file before a tensor is read."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from l0core.errors import InvalidInput
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import ROOMY, SAFETENSORS, TWO_BY_THREE, safetensors_saying, tensors_with
from tests.service.problems.formats.test_npy import Canary

_ONE: dict[str, Any] = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors")


def _vector(file: Path, data: bytes) -> NDArray[np.generic]:
    file.write_bytes(data)
    return formats.read_vector(file, SAFETENSORS, ROOMY, "/targets")


def _matrix(file: Path, data: bytes) -> NDArray[np.float64]:
    file.write_bytes(data)
    matrix, _ = canonical(formats.read_matrix(file, SAFETENSORS, ROOMY, "/matrix"))
    dense: NDArray[np.float64] = matrix.toarray()
    return dense


@given(
    st.lists(st.binary(min_size=8, max_size=8)),
    st.sampled_from(["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]),
)
def test_every_bit_pattern_survives(folder: Path, items: list[bytes], dtype: str) -> None:
    values = np.frombuffer(b"".join(items), dtype=dtype)
    read = _vector(folder / "upload", save({"anything": values}))
    assert (read.dtype, read.tobytes()) == (values.dtype, values.tobytes())


def test_booleans_are_a_vector_too(file: Path) -> None:
    assert _vector(file, save({"holdout": np.array([True, False])})).tolist() == [True, False]


def test_the_parts_are_compressed_rows_unless_the_metadata_say_columns(file: Path) -> None:
    np.testing.assert_array_equal(_matrix(file, tensors_with()), TWO_BY_THREE)
    rows = {"data": np.array([7.0]), "indices": np.array([1]), "indptr": np.array([0, 0, 1]), "shape": np.array([2, 2])}
    assert _matrix(file, save(rows, metadata={"layout": "csr"}))[1, 1] == 7
    assert _matrix(file, save(rows | {"indices": np.array([0])}, metadata={"layout": "csc"}))[0, 1] == 7


_HEADER = "is not a safetensors file: it promises a header of"
_WRONG = "is described wrongly: it needs dtype, shape and data_offsets that agree"
_PLACES = "do not fill its .* bytes of data, one after the other"


def _one(**changed: Any) -> bytes:
    return safetensors_saying({"x": _ONE | changed}, bytes(8))


def _two(*offsets: tuple[int, int], data: int = 16) -> bytes:
    tensors = {f"t{i}": {"dtype": "F64", "shape": [1], "data_offsets": list(pair)} for i, pair in enumerate(offsets)}
    return safetensors_saying(tensors, bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", _HEADER),
        (b"short", _HEADER),
        (b"hello, hello", _HEADER),
        (safetensors_saying({"x": _ONE}, bytes(8), length=10**6), f"{_HEADER} 1000000 bytes, has 77 in all"),
        (safetensors_saying({"x": _ONE}, bytes(8), length=2**64 - 1), _HEADER),
        (safetensors_saying(b" " * 2**21), "and 1048576 are read at most"),
        (safetensors_saying(b""), "its header is no JSON"),
        (safetensors_saying(b"{"), "its header is no JSON"),
        (safetensors_saying(b'{"x": 1, "x": 2}'), "its header is no JSON"),
        (safetensors_saying(b'{"\xff": 1}'), "its header is no JSON"),
        (safetensors_saying(b"[" * 100_000), "its header is no JSON"),
        (safetensors_saying(b'{"x": 1' + b"0" * 5000 + b"}"), "its header is no JSON"),
        (safetensors_saying([]), "its header names no tensors"),
        (safetensors_saying({"__metadata__": {"a": 1}}), "__metadata__ that are not texts"),
        (safetensors_saying({"__metadata__": "a"}), "__metadata__ that are not texts"),
        (safetensors_saying({"x": 1}), _WRONG),
        (_one(shape=[2]), _WRONG),
        (_one(shape=[-1]), _WRONG),
        (_one(shape=[1.0]), _WRONG),
        (_one(shape=[True]), _WRONG),
        (_one(shape=1), _WRONG),
        (_one(shape=[1] * 9), _WRONG),
        (_one(shape=[2**62, 2**62]), _WRONG),
        (_one(data_offsets=[0]), _WRONG),
        (_one(data_offsets=[8, 0]), _WRONG),
        (_one(data_offsets=[-8, 0]), _WRONG),
        (_one(data_offsets=[0, 8.0]), _WRONG),
        (_one(more=1), _WRONG),
        (_one(dtype="F16"), "holds F16; send F32, F64 or integers"),
        (_one(dtype="BF16"), "holds BF16; send"),
        (_one(dtype="C64"), "holds C64; send"),
        (_one(dtype="F8_E5M2"), "holds F8_E5M2; send"),
        (_one(dtype="x" * 10_000), "holds xxxxxxxxxxxxxxxx; send"),
        (_one(shape=[250_000_000], data_offsets=[0, 2_000_000_000]), _PLACES),
        (_two((0, 8), (0, 8)), _PLACES),
        (_two((0, 8), (4, 12)), _PLACES),
        (_two((0, 8), (16, 24), data=24), _PLACES),
        (_two((8, 16), (16, 24), data=24), _PLACES),
        (_two((0, 8), (8, 16), data=15), _PLACES),
        (_two((0, 8), (8, 16), data=17), _PLACES),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_header_that_is_not_what_the_file_is_is_refused(file: Path, data: bytes, words: str) -> None:
    for read, pointer in ((_vector, "/targets"), (_matrix, "/matrix")):
        with pytest.raises(InvalidInput, match=words) as caught:
            read(file, data)
        assert caught.value.pointer == pointer


_SHAPE = "needs its shape once"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (safetensors_saying({}), "holds nothing; a matrix is one tensor"),
        (tensors_with(data=None), "holds indices, indptr, shape; a matrix is one tensor"),
        (tensors_with(more=[1.0]), "holds data, indices, indptr, more, shape"),
        (tensors_with(row=[0], col=[0]), "a matrix is one tensor, or data"),
        (tensors_with(shape=None), _SHAPE),
        (save({"data": np.ones(1), "row": np.zeros(1, int), "col": np.zeros(1, int)}), _SHAPE),
        (tensors_with(shape=[2.0, 3.0]), "must be two whole numbers of 0 or more"),
        (tensors_with(shape=[2]), "must be two whole numbers"),
        (tensors_with(shape=[2, 3, 1]), "must be two whole numbers"),
        (tensors_with(shape=[[2, 3]]), "must be two whole numbers"),
        (tensors_with(shape=[-2, 3]), "must be two whole numbers"),
        (tensors_with(shape=[True, True]), "must be two whole numbers"),
        (tensors_with(shape=np.zeros(1000, int)), "must be two whole numbers"),
        (tensors_with(shape=[2, 2**40]), "1099511627776 columns; the limit is 2147483648"),
        (tensors_with(shape=[2**33, 2**33]), "8589934592 rows; the limit is 10000000"),
        (tensors_with(shape=np.array([2, 2**64 - 1], dtype=np.uint64)), "18446744073709551615 columns"),
        (tensors_with(shape=[0, 3]), r"shape \(0, 3\); it needs at least one row"),
        (tensors_with(shape=[2, 0]), r"shape \(2, 0\); it needs at least one row"),
        (tensors_with(indices=[0, 1, 3]), r"indices\[2\] is 3; it must be from 0 to 2"),
        (tensors_with(indices=[0, -1, 2]), r"indices\[1\] is -1"),
        (tensors_with(indices=[0.0, 1.0, 2.0]), "indices holds float64; it needs integers"),
        (tensors_with(indices=[0, 1]), r"equally long: indices \(2,\), data \(3,\)"),
        (tensors_with(indptr=[1, 2, 3]), "indptr runs from 1 to 3"),
        (tensors_with(indptr=[0, 4, 3]), "indptr falls from 4 to 3 at position 2"),
        (tensors_with(indptr=[0, 3]), r"indptr has int64 shape \(2,\); it needs 3 integers"),
        (tensors_with(data=[1.0, np.nan, np.inf]), "2 of the matrix's 3 stored values are NaN or infinite"),
        (tensors_with(data=[True, True, True]), "holds bool"),
        (save({"x": np.ones((2, 3), bool)}), "holds bool"),
        (save({"x": np.ones(6)}), "has 1 dimensions; a dense matrix has 2"),
        (save({"x": np.ones((1, 2, 3))}), "has 3 dimensions; a dense matrix has 2"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_tensors_that_are_no_sound_matrix_are_refused_with_the_place_named(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _matrix(file, data)
    assert caught.value.pointer == "/matrix"


_PARTS = {"data": np.ones(1), "indices": np.zeros(1, int), "indptr": np.array([0, 1, 1])}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"shape": "[2, 3]", "layout": "bsr"}, "layout is 'bsr'; it must be csr or csc"),
        ({"shape": "2, 3"}, "must be two whole numbers"),
        ({"shape": "[2, 3.0]"}, "must be two whole numbers"),
        ({"shape": "[2, true]"}, "must be two whole numbers"),
        ({"shape": '{"rows": 2}'}, "must be two whole numbers"),
        ({"shape": "[" * 50}, "must be two whole numbers"),
        ({"shape": "[" + "0" * 5000}, "must be two whole numbers"),
    ],
)
def test_metadata_that_cannot_be_meant_are_refused(file: Path, metadata: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        _matrix(file, save(_PARTS, metadata=metadata))


def test_a_shape_that_stands_twice_is_refused(file: Path) -> None:
    with pytest.raises(InvalidInput, match=_SHAPE):
        _matrix(file, save({**_PARTS, "shape": np.array([2, 3])}, metadata={"shape": "[2, 3]"}))


def test_what_a_library_notes_of_its_tensors_is_no_layout(file: Path) -> None:
    assert _matrix(file, save(_PARTS, metadata={"shape": "[2, 3]", "format": "np"})).sum() == 1


@pytest.mark.parametrize("data", [tensors_with(), safetensors_saying({})])
def test_a_vector_is_one_tensor(file: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"the upload of targets holds .*; a vector is a file of one tensor"):
        _vector(file, data)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bytes": 87}, "has 88 bytes of data; the limit is 87"),
        ({"targets": 1}, "2 rows; the limit is 1"),
        ({"units": 2}, "3 columns; the limit is 2"),
        ({"nonzeros": 2}, "3 entries; the limit is 2"),
    ],
)
def test_each_limit_is_held_exactly(file: Path, changed: dict[str, int], words: str) -> None:
    file.write_bytes(tensors_with())
    exact = dataclasses.replace(ROOMY, targets=2, units=3, nonzeros=3, bytes=88)
    formats.read_matrix(file, SAFETENSORS, exact, "/matrix")
    with pytest.raises(InvalidInput, match=words):
        formats.read_matrix(file, SAFETENSORS, dataclasses.replace(exact, **changed), "/matrix")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_named_and_never_opened(file: Path, tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(InvalidInput, match="is a pickle; pickles are never read") as caught:
        _vector(file, pickle.dumps(Canary(canary), protocol=protocol))
    assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()


def test_a_header_whose_length_looks_like_a_pickle_is_read(file: Path) -> None:
    text = b'{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'
    assert _vector(file, safetensors_saying(text.ljust(0x80), np.array([2.5]).tobytes())).tolist() == [2.5]
