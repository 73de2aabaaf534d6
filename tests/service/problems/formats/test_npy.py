"""NumPy's .npy from strangers: what is there is read exactly, what only the header promises is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import NPY, ROOMY, TWO_BY_THREE, npy, npy_saying


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npy")


def _vector(file: Path, data: bytes) -> NDArray[np.generic]:
    file.write_bytes(data)
    return formats.read_vector(file, NPY, ROOMY, "/targets")


def _matrix(file: Path, data: bytes) -> NDArray[np.float64]:
    file.write_bytes(data)
    matrix, _ = canonical(formats.read_matrix(file, NPY, ROOMY, "/matrix"))
    dense: NDArray[np.float64] = matrix.toarray()
    return dense


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, -2.0, 5e-324, 1.7976931348623157e308, -0.0]),
        np.array([1, 2, 2**53 - 1]),
        np.array([1.5, 2.5], dtype=">f8"),
        np.array([1.5, 2.5], dtype="<f4"),
        np.array([1, 2], dtype=">i2"),
        np.array([1, 255], dtype="u1"),
        np.array([True, False]),
        np.array([]),
    ],
)
def test_a_vector_is_read_as_it_was_written(file: Path, values: NDArray[np.generic]) -> None:
    read = _vector(file, npy(values))
    np.testing.assert_array_equal(read, values)
    assert read.dtype == values.dtype.newbyteorder("=")


@given(st.lists(st.binary(min_size=8, max_size=8)), st.sampled_from(["<f8", ">f8", "<f4", "<i8"]))
def test_every_bit_pattern_survives(folder: Path, items: list[bytes], dtype: str) -> None:
    values = np.frombuffer(b"".join(items), dtype=dtype)
    read = _vector(folder / "upload", npy(values))
    assert read.tobytes() == values.astype(values.dtype.newbyteorder("=")).tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8", ">i4", "u1"])
def test_a_dense_matrix_is_its_nonzeros(file: Path, order: str, dtype: str) -> None:
    stored = np.asarray(TWO_BY_THREE, dtype=dtype, order=order)  # type: ignore[call-overload]  # two plain texts
    np.testing.assert_array_equal(_matrix(file, npy(stored)), TWO_BY_THREE)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a NumPy .npy file"),
        (b"\x93", "not a NumPy .npy file"),
        (b"\x93NUMPY", "not a NumPy .npy file"),
        (b"hello, world", "not a NumPy .npy file"),
        (npy([1.0])[:20], "not a NumPy .npy file"),
        (npy_saying("'<f8'", "(1,)", bytes(8), version=(9, 0)), "not a NumPy .npy file"),
        (npy_saying("'<f8'", "(1.0,)", bytes(8)), "not a NumPy .npy file"),
        (npy_saying("'<f8'", "[1]", bytes(8)), "not a NumPy .npy file"),
        (npy_saying("'<f99'", "(1,)", bytes(8)), "not a NumPy .npy file"),
        (npy_saying("__import__('os')", "(1,)", bytes(8)), "not a NumPy .npy file"),
        (npy_saying("'<f8'", f"(1{'0' * 5000},)"), "not a NumPy .npy file"),
        (npy_saying("'<f8'", "(" * 3000 + ")" * 3000), "not a NumPy .npy file"),
        (npy_saying("'<f8'", "(1,)" + " " * 20_000, bytes(8)), "not a NumPy .npy file"),
        (npy_saying("'<f8'", "(-1,)"), r"shape \(-1,\), with a negative length"),
        (npy([1.0, 2.0])[:-1], "promises 144 bytes by its header .* and has 143"),
        (npy([1.0, 2.0]) + b"x", "promises 144 bytes by its header .* and has 145"),
        (npy_saying("'<f8'", "(2000000000,)", bytes(16)), "promises 16000000128 bytes"),
        (npy_saying("'<f8'", "(9223372036854775807, 9223372036854775807)", bytes(16)), "promises 6805"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _vector(file, data)
    assert caught.value.pointer == "/targets"
    with pytest.raises(InvalidInput, match=words) as caught:
        _matrix(file, data)
    assert caught.value.pointer == "/matrix"


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def _object_array(canary: Canary) -> bytes:
    holder = np.empty(1, dtype=object)
    holder[0] = canary
    return npy(holder)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_named_and_never_opened(file: Path, tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(InvalidInput, match="is a pickle; pickles are never read") as caught:
        _vector(file, pickle.dumps(Canary(canary), protocol=protocol))
    assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()


def test_an_array_of_objects_is_named_and_never_unpickled(file: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = _object_array(Canary(canary))
    np.load(_written(tmp_path / "proof", data), allow_pickle=True)
    assert canary.exists()  # the trap works
    canary.unlink()
    for read in (_vector, _matrix):
        with pytest.raises(InvalidInput, match="holds Python objects") as caught:
            read(file, data)
        assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("descr", ["'|O'", "[('a', '|O')]", "[('a', [('b', '|O')])]"])
def test_objects_hidden_in_a_record_are_found(file: Path, descr: str) -> None:
    with pytest.raises(InvalidInput, match="holds Python objects"):
        _vector(file, npy_saying(descr, "(1,)", bytes(8)))


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        ("?", "bool"),
        ("c16", "complex128"),
        ("S1", "S1"),
        ("U1", "U1"),
        ("M8[s]", "datetime64"),
        ("m8[s]", "timedelta64"),
        ("f16", "float128"),
        ([("a", "f8")], "'a'"),
        ("f2", "float16"),
    ],
)
def test_a_matrix_of_anything_but_numbers_is_refused(file: Path, dtype: str, shown: str) -> None:
    with pytest.raises(InvalidInput, match=f"holds .*{shown}.*; send float32, float64 or integers"):
        _matrix(file, npy(np.zeros((2, 3), dtype=dtype)))


@pytest.mark.parametrize("shape", ["()", "(6,)", "(1, 2, 3)"])
def test_a_dense_matrix_has_two_dimensions(file: Path, shape: str) -> None:
    count = {"()": 1, "(6,)": 6, "(1, 2, 3)": 6}[shape]
    with pytest.raises(InvalidInput, match="dimensions; a dense matrix has 2"):
        _matrix(file, npy_saying("'<f8'", shape, bytes(8 * count)))


def test_a_dense_matrix_is_held_to_the_limits(file: Path) -> None:
    with pytest.raises(InvalidInput, match="1099511627776 columns; the limit is 2147483648"):
        _matrix(file, npy_saying("'<f8'", "(0, 1099511627776)"))


@pytest.mark.parametrize(
    "data",
    [
        npy_saying("'|V0'", "(2000000000,)"),
        npy_saying("'|S0'", "(2, 2)"),
        npy_saying("'<U0'", "(5,)"),
        npy_saying("('<f8', (2,))", "(2,)", bytes(32)),
        npy_saying("()", "(2,)"),
        npy_saying("('<f8',)", "(2,)", bytes(16)),
        npy_saying("'<f8'", "(0, 10000000000000000000000000)"),
        npy_saying("'<f8'", "(True, 2)", bytes(16)),
        npy_saying("'<f8'", f"({'1,' * 100})", bytes(8)),
        npy_saying("'<f8'", "-" * 4000 + "1"),
        npy_saying("'<f8'", "(2L, '''abc"),
    ],
    ids=["V0", "S0", "U0", "subarray", "no descr", "half descr", "0 x 1e25", "bool", "100-d", "deep", "open"],
)
def test_a_strange_header_is_refused_in_words(file: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput):
        _vector(file, data)


def test_an_empty_matrix_of_booleans_is_refused_in_words(file: Path) -> None:
    with pytest.raises(InvalidInput):
        _matrix(file, npy(np.zeros((3, 0), dtype=bool)))


def test_an_npy_cannot_be_read_as_a_type_that_holds_no_vectors(file: Path) -> None:
    file.write_bytes(npy([1.0]))
    with pytest.raises(InvalidInput, match="application/x-npz cannot be a vector; send application/x-npy"):
        formats.read_vector(file, "application/x-npz", ROOMY, "/targets")
