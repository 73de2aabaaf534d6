"""Parquet from strangers: names, types and sizes by the footer, then batches; no extension type is ever made."""

import dataclasses
import datetime
import decimal
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import PARQUET, ROOMY, TWO_BY_THREE, parquet, triples_with
from tests.service.problems.formats.test_npy import Canary


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet")


def _vector(file: Path, data: bytes) -> NDArray[np.generic]:
    file.write_bytes(data)
    return formats.read_vector(file, PARQUET, ROOMY, "/targets")


def _matrix(file: Path, data: bytes, *, rows: int | None = None) -> NDArray[np.float64]:
    file.write_bytes(data)
    matrix, _ = canonical(formats.read_matrix(file, PARQUET, ROOMY, "/matrix", rows=rows))
    dense: NDArray[np.float64] = matrix.toarray()
    return dense


_DTYPES = ["float64", "float32", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"]


@given(st.lists(st.binary(min_size=8, max_size=8)), st.sampled_from(_DTYPES))
def test_every_bit_pattern_of_a_vector_survives(folder: Path, items: list[bytes], dtype: str) -> None:
    values = np.frombuffer(b"".join(items), dtype=dtype)
    read = _vector(folder / "upload", parquet({"anything": values}))
    assert (read.dtype, read.tobytes()) == (values.dtype, values.tobytes())


def test_booleans_are_a_vector_too(file: Path) -> None:
    assert _vector(file, parquet({"holdout": [True, False]})).tolist() == [True, False]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
@pytest.mark.parametrize("pages", ["1.0", "2.0"])
def test_a_long_vector_in_many_groups_and_pages_is_read_whole(file: Path, compression: str, pages: str) -> None:
    values = np.random.default_rng(1).normal(size=200_000)
    options: dict[str, Any] = {"row_group_size": 70_000, "data_page_size": 4096}
    data = parquet({"v": values}, compression=compression, data_page_version=pages, **options)
    np.testing.assert_array_equal(_vector(file, data), values)


@pytest.mark.parametrize("dtype", [dtype for dtype in _DTYPES if "int" in dtype])
def test_indices_of_any_width_are_read(file: Path, dtype: str) -> None:
    columns = triples_with(row=np.array([0, 0, 1], dtype), col=np.array([0, 1, 2], dtype))
    np.testing.assert_array_equal(_matrix(file, parquet(columns)), TWO_BY_THREE)


def test_a_file_without_a_shape_has_the_rows_that_are_known_and_the_columns_it_needs(file: Path) -> None:
    data = parquet(triples_with())
    assert _matrix(file, data).shape == (2, 3)
    assert _matrix(file, data, rows=5).shape == (5, 3)
    assert _matrix(file, parquet(triples_with(), shape="[4, 9]"), rows=5).shape == (4, 9)
    with pytest.raises(InvalidInput, match=r"row\[2\] is 1; it must be from 0 to 0"):
        _matrix(file, data, rows=1)


_COLUMNS = "a matrix has row, col and value, each once"
_NUMBERS = "send float32, float64 or integers"
_WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def _with_footer(length: int) -> bytes:
    return parquet(triples_with())[:-8] + length.to_bytes(4, "little") + b"PAR1"


_SOUND = parquet(triples_with(), compression="none")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin and end with PAR1"),
        (b"PAR1", "does not begin and end with PAR1"),
        (b"hello, hello, hello", "does not begin and end with PAR1"),
        (_SOUND[:-1], "does not begin and end with PAR1"),
        (_SOUND + b"more", "does not begin and end with PAR1"),
        (_SOUND.replace(b"PAR1", b"PARE"), "does not begin and end with PAR1"),
        (b"PAR1" + bytes(8) + b"PAR1", "not a readable Parquet file"),
        (_with_footer(2**31), "promises a footer of 2147483648 bytes; the file has room for"),
        (_with_footer(0), "not a readable Parquet file"),
        (_with_footer(10), "not a readable Parquet file"),
        (_flipped(_SOUND, len(_SOUND) - 9), "not a readable Parquet file"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_what_is_no_parquet_file_is_refused(file: Path, data: bytes, words: str) -> None:
    for read, pointer in ((_vector, "/targets"), (_matrix, "/matrix")):
        with pytest.raises(InvalidInput, match=words) as caught:
            read(file, data)
        assert caught.value.pointer == pointer


def test_a_damaged_page_is_refused(file: Path) -> None:
    with pytest.raises(InvalidInput, match="not a readable Parquet file"):
        _matrix(file, _flipped(_SOUND, 4))


def _table(**columns: Any) -> bytes:
    return parquet(triples_with(**columns))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_table(value=None), f"has the columns row, col; {_COLUMNS}"),
        (_table(more=[1, 2, 3]), f"has the columns row, col, value, more; {_COLUMNS}"),
        (parquet(pa.table([[0], [0], [0], [1.0]], names=["row", "row", "col", "value"])), _COLUMNS),
        (parquet({"Row": [0], "Col": [0], "Value": [1.0]}), _COLUMNS),
        (parquet({"matrix": [{"row": 0, "col": 0, "value": 1.0}]}), "holds struct<"),
        (parquet({f"c{i}": [0] for i in range(5000)}), "has the columns c0, c1, .*, c7, ...; a matrix"),
        (_table(row=[0.0, 0.0, 1.0]), "column 'row' holds float64; it needs integers"),
        (_table(col=[True, False, True]), "column 'col' holds bool; it needs integers"),
        (_table(value=[True, False, True]), f"column 'value' holds bool; {_NUMBERS}"),
        (_table(value=["1", "2", "3"]), f"column 'value' of the Parquet file holds string; {_NUMBERS}"),
        (_table(value=[b"1", b"2", b"3"]), "holds binary"),
        (_table(value=pa.array([1, 2, 3], pa.float16())), "holds halffloat"),
        (_table(value=[decimal.Decimal("1.5")] * 3), "holds decimal"),
        (_table(value=[_WHEN] * 3), "holds timestamp"),
        (_table(value=[datetime.date(2026, 1, 1)] * 3), "holds date32"),
        (_table(value=[[1.0], [2.0], [3.0]]), "holds list"),
        (_table(value=pa.array(["1", "2", "3"]).dictionary_encode()), "holds dictionary<values=string"),
        (_table(value=pa.nulls(3)), "holds null"),
        (_table(value=[1.0, None, 3.0]), "row 1 of the Parquet file has no value"),
        (_table(col=pa.array([0, 1, None], pa.int64())), "row 2 of the Parquet file has no col"),
        (_table(col=[0, 1, -1]), r"col\[2\] is -1"),
        (_table(col=np.array([0, 1, 2**64 - 1], np.uint64)), "row 2 .* has col 18446744073709551615, which is beyond"),
        (_table(col=[0, 1, 2**63 - 1]), "9223372036854775808 columns; the limit is 2147483648"),
        (_table(row=[0, 1, 2**40]), "1099511627777 rows; the limit is 10000000"),
        (_table(value=[1.0, np.nan, np.inf]), "2 of the matrix's 3 stored values are NaN or infinite"),
        (parquet({"row": np.array([], int), "col": np.array([], int), "value": np.array([])}), r"shape \(0, 0\)"),
        (parquet(triples_with(), shape="[2, 2]"), r"col\[2\] is 2; it must be from 0 to 1"),
        (parquet(triples_with(), shape="[2, 1099511627776]"), "1099511627776 columns; the limit is"),
        (parquet(triples_with(), shape="[0, 3]"), r"shape \(0, 3\); it needs at least one row"),
        *(
            (parquet(triples_with(), shape=text), r"a shape that is not \[rows, columns\]")
            for text in ("2, 3", "[2]", "[2, 3, 1]", "[2.0, 3]", "[-2, 3]", "[true, 3]", '"23"', "[" * 99, "1" * 200)
        ),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_columns_that_are_no_sound_matrix_are_refused_with_the_place_named(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _matrix(file, data)
    assert caught.value.pointer == "/matrix"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (triples_with(), r"has the columns row, col, value; a vector has one .*index=False"),
        ({}, "a vector has one"),
        ({"v": ["a"]}, "column 'v' of the Parquet file holds string"),
        ({"v": [1.0, None]}, r"row 1 of the Parquet file has no v \(null\)"),
        ({"v": [[1.0]]}, "holds list"),
    ],
)
def test_a_vector_is_one_column_of_numbers(file: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _vector(file, parquet(columns))
    assert caught.value.pointer == "/targets"


class _Dangerous(pa.ExtensionType):  # type: ignore[misc]  # Arrow has no types
    def __init__(self) -> None:
        super().__init__(pa.float64(), "tests.dangerous")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: object, serialized: bytes) -> "_Dangerous":
        return cls()


def test_a_column_of_an_extension_type_is_refused(file: Path) -> None:
    storage = pa.array([1.0, 2.0, 3.0])
    data = parquet(triples_with(value=pa.ExtensionArray.from_storage(_Dangerous(), storage)))
    pa.register_extension_type(_Dangerous())
    try:
        with pytest.raises(InvalidInput, match=r"holds extension<tests\.dangerous"):
            _matrix(file, data)
    finally:
        pa.unregister_extension_type("tests.dangerous")


def test_a_dictionary_of_numbers_is_its_plain_numbers(file: Path) -> None:
    data = parquet(triples_with(value=pa.array([1, 2, 3]).dictionary_encode()))
    np.testing.assert_array_equal(_matrix(file, data), TWO_BY_THREE)


def test_an_extension_type_nobody_knows_is_its_plain_numbers(file: Path) -> None:
    storage = pa.array([1.0, 2.0, 3.0])
    data = parquet(triples_with(value=pa.ExtensionArray.from_storage(_Dangerous(), storage)))
    np.testing.assert_array_equal(_matrix(file, data), TWO_BY_THREE)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bytes": 71}, "unpacks to .* bytes; the limit is 71"),
        ({"targets": 1}, "2 rows; the limit is 1"),
        ({"units": 2}, "3 columns; the limit is 2"),
        ({"nonzeros": 2}, "3 entries; the limit is 2"),
    ],
)
@pytest.mark.parametrize("shape", [None, "[2, 3]"])
def test_each_limit_is_held_exactly(file: Path, changed: dict[str, int], words: str, shape: str | None) -> None:
    file.write_bytes(parquet(triples_with(), shape=shape))
    exact = dataclasses.replace(ROOMY, targets=2, units=3, nonzeros=3, bytes=1000)
    formats.read_matrix(file, PARQUET, exact, "/matrix")
    with pytest.raises(InvalidInput, match=words):
        formats.read_matrix(file, PARQUET, dataclasses.replace(exact, **changed), "/matrix")


def test_a_bomb_is_refused_by_its_footer(file: Path) -> None:
    data = parquet({"v": np.zeros(40_000_000)}, use_dictionary=True, compression="zstd")
    assert len(data) < 200_000
    with pytest.raises(InvalidInput, match=r"unpacks from .* to 320000000 bytes, more than 200-fold"):
        _vector(file, data)


def test_a_pickle_is_named_and_never_opened(file: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(InvalidInput, match="is a pickle; pickles are never read") as caught:
        _matrix(file, pickle.dumps(Canary(canary)))
    assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()
