"""Matrix Market from strangers: every line is read exactly or the first bad one is named."""

import dataclasses
import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import MATRIX_MARKET, ROOMY, TWO_BY_THREE, matrix_market, mm
from tests.service.problems.formats.test_npy import Canary

_LINES = ("2 3 3", "1 1 1", "1 2 2", "2 3 3")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mm")


def _read(file: Path, data: bytes) -> NDArray[np.float64]:
    file.write_bytes(data)
    matrix, _ = canonical(formats.read_matrix(file, MATRIX_MARKET, ROOMY, "/matrix"))
    dense: NDArray[np.float64] = matrix.toarray()
    return dense


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.booleans())
def test_any_matrix_is_read_as_scipy_wrote_it(folder: Path, seed: int, density: float, dense: bool) -> None:
    made: Any = sp.random_array((5, 7), density=density, rng=seed, format="coo")
    made.data = np.ldexp(made.data, np.random.default_rng(seed).integers(-1000, 1000, made.data.size))
    data = matrix_market(made.toarray() if dense else made)
    np.testing.assert_array_equal(_read(folder / "upload", data), made.toarray())


@pytest.mark.parametrize(
    "data",
    [
        mm(*_LINES),
        mm(*_LINES)[:-1],
        mm(*_LINES, end="\r\n"),
        mm(*_LINES, "", "  ", "\t"),
        mm("% a comment", "%", "", *_LINES),
        mm("  2\t3   3 ", "", "1\t1 \t1.0e0", "  1 2  +2", "2 3 .3e1 "),
        mm(*reversed(_LINES[1:]))[:0] + mm(_LINES[0], *reversed(_LINES[1:])),
        mm("2 3 4", *_LINES[1:], "1 3 0"),
        mm(*_LINES, kind="COORDINATE Real gEneral"),
        mm(*_LINES, kind="coordinate integer general"),
        mm("2 3", "1", "0", "2", "0", "0", "3", kind="array integer general"),
        mm("2 3", "1.0", "0", "2", "-0", "0", "3", kind="array real general"),
        mm("2 3 2", "1 1 1", "1 2 2").replace(b"2 3 2", b"2 3 3") + b"2 3 3",
    ],
    ids=lambda data: str(len(data)),
)
def test_the_same_matrix_however_it_is_written(file: Path, data: bytes) -> None:
    np.testing.assert_array_equal(_read(file, data), TWO_BY_THREE)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("coordinate pattern general", ("2 2 2", "1 1", "2 1")),
        ("coordinate real symmetric", ("2 2 2", "1 1 5", "2 1 -0.5")),
        ("coordinate integer symmetric", ("2 2 2", "2 2 5", "2 1 7")),
        ("coordinate pattern symmetric", ("3 3 2", "2 2", "3 1")),
        ("coordinate real skew-symmetric", ("3 3 2", "2 1 4", "3 1 -2.5")),
    ],
)
def test_patterns_and_symmetries_are_expanded_as_scipy_expands_them(
    file: Path, kind: str, lines: tuple[str, ...]
) -> None:
    data = mm(*lines, kind=kind)
    by_scipy: Any = scipy.io.mmread(io.BytesIO(data))
    np.testing.assert_array_equal(_read(file, data), by_scipy.toarray())


@pytest.mark.parametrize("number", ["5e-324", "1.7976931348623157e308", "0.1", "-2.2250738585072014e-308", "1e-400"])
def test_every_digit_counts(file: Path, number: str) -> None:
    assert _read(file, mm("1 1 1", f"1 1 {number}"))[0, 0] == float(number)


def test_a_mantissa_of_any_length_is_read_or_refused(file: Path) -> None:
    assert _read(file, mm("1 1 1", f"1 1 1.{'0' * 900_000}1"))[0, 0] == 1.0
    with pytest.raises(InvalidInput, match="a line of more than 1048576 bytes"):
        _read(file, mm("1 1 1", f"1 1 1.{'0' * 3_000_000}1"))


_FIRST = "not a Matrix Market file"
_SIZES = "needs a line of rows, columns and entries"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", _FIRST),
        (b"hello", _FIRST),
        (b"%%MatrixMarket", _FIRST),
        (b"2 3 3\n1 1 1\n", _FIRST),
        (mm(*_LINES).replace(b"matrix ", b"vector ", 1), _FIRST),
        (b"%" * 5000, "a line of 1024 bytes or more"),
        (mm(*_LINES, kind="coordinate complex general"), "is coordinate complex general; read are"),
        (mm(*_LINES, kind="coordinate real hermitian"), "hermitian; read are"),
        (mm(*_LINES, kind="coordinate double general"), "double general; read are"),
        (mm(*_LINES, kind="elements real general"), "elements real general; read are"),
        (mm("2 2", "1", kind="array pattern general"), "an array cannot be pattern general"),
        (mm("2 2", "1", "2", "3", kind="array real symmetric"), "an array cannot be real symmetric"),
        (mm(), _SIZES),
        (mm("% only", "% comments"), _SIZES),
        (mm("2 3"), _SIZES),
        (mm("2 3 3 3"), _SIZES),
        (mm("2.0 3 3"), _SIZES),
        (mm("-2 3 3"), _SIZES),
        (mm("2 3 \xb2"), _SIZES),
        (mm(f"2 3 {'9' * 20}"), _SIZES),
        (mm("2", "3", kind="array real general"), "needs a line of rows, columns after"),
        (mm(*["%" * 1000] * 1100), "more than 1048576 bytes of comments"),
        (mm("2 3 2000000000", *_LINES[1:]), "promises 2000000000 entries, 11999999999 bytes at least, and has 18"),
        (mm("2 3 4", *_LINES[1:]), "promises 4 entries, 23 bytes at least, and has 18"),
        (mm("2 3 4", *_LINES[1:], "      "), "promises 4 entries and ends after 3"),
        (mm("2 3 3", *_LINES[1:3]), "promises 3 entries, 17 bytes at least, and has 12"),
        (mm("1000 2000000", "1", kind="array real general"), "promises 2000000000 entries, 3999999999 bytes"),
        (mm(*_LINES, "2 2 9"), "goes on after its 3 entries"),
        (mm(*_LINES, "junk"), "entry 4 of the Matrix Market file cannot be read"),
        (mm("2 1099511627776 3", *_LINES[1:]), "1099511627776 columns; the limit is 2147483648"),
        (mm("8589934592 8589934592 3", *_LINES[1:]), "8589934592 rows; the limit is 10000000"),
        (mm("2 3 2147483649", *_LINES[1:]), "2147483649 entries; the limit is 2147483648"),
        (mm("0 3 0"), r"shape \(0, 3\); it needs at least one row"),
        (mm("2 0 0"), r"shape \(2, 0\); it needs at least one row"),
        (mm("2 3 1", "0 1 1"), "entry 1 of the Matrix Market file has row 0; Matrix Market counts from 1, here to 2"),
        (mm("2 3 2", "1 1 1", "1 4 1"), "entry 2 of the Matrix Market file has col 4; .* here to 3"),
        (mm("2 3 1", "1 -1 1"), "entry 1 of the Matrix Market file has col -1"),
        (mm("2 3 1", "1 99999999999999999999 1"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 2", "1 1 1", "1 1.0 1"), "entry 2 .* each line needs: row col value"),
        (mm("2 3 2", "1 1 1.0", "1 1"), "entry 2 .* each line needs: row col value"),
        (mm("2 3 2", "1 1", "1 2 2.0"), "entry 1 .* each line needs: row col value"),
        (mm("2 3 2", "1 1 1 1", "1 2 2"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 2.0abc"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 1.2.3"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 1,5"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 0x1p3"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 \xb2"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 1\x00"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 1.5", kind="coordinate integer general"), r"row col value \(integer\)"),
        (mm("2 3 1", "1 1 1", kind="coordinate pattern general"), r"each line needs: row col \(pattern\)"),
        (mm("2 3 1", "% 1 1 1", "1 1 1"), "entry 1 of the Matrix Market file cannot be read"),
        (mm("2 3 1", "1 1 nan"), "1 of the matrix's 1 stored values are NaN or infinite"),
        (mm("2 3 1", "1 1 -inf"), "1 of the matrix's 1 stored values are NaN or infinite"),
        (mm("2 3 2", "1 1 1e400", "1 2 1"), "1 of the matrix's 2 stored values are NaN or infinite"),
        (
            mm("2 3 1", "1 1 1", kind="coordinate real symmetric"),
            r"a symmetric matrix is square; this has shape \(2, 3",
        ),
        (mm("2 2 1", "1 2 1", kind="coordinate real symmetric"), "entry 1 .* is at row 1, col 2; a symmetric matrix"),
        (mm("2 2 1", "1 1 1", kind="coordinate real skew-symmetric"), "row 1, col 1; a skew-symmetric matrix stores"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_what_is_no_sound_matrix_is_refused_with_the_place_named(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _read(file, data)
    assert caught.value.pointer == "/matrix"


def test_the_bad_line_is_named_in_a_file_of_many_blocks(file: Path) -> None:
    lines = [f"1 {number + 1} 0.25" for number in range(200_000)]
    lines[150_000] = "1 1 x"
    with pytest.raises(InvalidInput, match="entry 150001 of the Matrix Market file cannot be read"):
        _read(file, mm("1 200000 200000", *lines))
    lines[150_000] = "1 0 0.25"
    with pytest.raises(InvalidInput, match="entry 150001 of the Matrix Market file has col 0"):
        _read(file, mm("1 200000 200000", *lines))


def test_a_large_file_is_read_whole(file: Path) -> None:
    made = sp.random_array((20, 30_000), density=0.3, rng=1)
    np.testing.assert_array_equal(_read(file, matrix_market(made)), made.toarray())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bytes": 71}, "takes 72 bytes; the limit is 71"),
        ({"targets": 1}, "2 rows; the limit is 1"),
        ({"units": 2}, "3 columns; the limit is 2"),
        ({"nonzeros": 2}, "3 entries; the limit is 2"),
    ],
)
def test_each_limit_is_held_exactly(file: Path, changed: dict[str, int], words: str) -> None:
    file.write_bytes(mm(*_LINES))
    exact = dataclasses.replace(ROOMY, targets=2, units=3, nonzeros=3, bytes=72)
    formats.read_matrix(file, MATRIX_MARKET, exact, "/matrix")
    with pytest.raises(InvalidInput, match=words):
        formats.read_matrix(file, MATRIX_MARKET, dataclasses.replace(exact, **changed), "/matrix")


def test_the_expanded_matrix_is_held_to_the_limit(file: Path) -> None:
    file.write_bytes(mm("2 2 2", "1 1 1", "2 1 1", kind="coordinate real symmetric"))
    with pytest.raises(InvalidInput, match="3 entries; the limit is 2"):
        formats.read_matrix(file, MATRIX_MARKET, dataclasses.replace(ROOMY, nonzeros=2), "/matrix")


def test_a_pickle_is_named_and_never_opened(file: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(InvalidInput, match="the matrix is a pickle") as caught:
        _read(file, pickle.dumps(Canary(canary)))
    assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()


def test_a_line_without_an_end_costs_no_memory(file: Path) -> None:
    with file.open("wb") as stream:
        stream.write(mm("1 1 1"))
        stream.truncate(2**28)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="a line of more than 1048576 bytes"):
            formats.read_matrix(file, MATRIX_MARKET, ROOMY, "/matrix")
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_a_matrix_market_file_is_no_vector(file: Path) -> None:
    file.write_bytes(mm(*_LINES))
    with pytest.raises(InvalidInput, match="text/x-matrix-market cannot be a vector; send application/x-npy"):
        formats.read_vector(file, MATRIX_MARKET, ROOMY, "/targets")
