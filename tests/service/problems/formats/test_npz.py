"""scipy's sparse .npz from strangers: nothing is inflated before its size is known, nothing else is in the file."""

import dataclasses
import io
import pickle
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import InvalidInput
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import (
    NPZ,
    ROOMY,
    TWO_BY_THREE,
    bomb,
    csr_with,
    encrypted,
    every_form,
    members,
    npy,
    npy_saying,
    npz,
    zipped,
)
from tests.service.problems.formats.test_npy import Canary


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upload"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npz")


def _read(file: Path, data: bytes, content_type: str = NPZ) -> sp.csr_array:
    file.write_bytes(data)
    matrix, _ = canonical(formats.read_matrix(file, content_type, ROOMY, "/matrix"))
    return matrix


@pytest.mark.parametrize("form", every_form(TWO_BY_THREE))
def test_every_form_gives_the_same_canonical_matrix(file: Path, form: str) -> None:
    content_type, data = every_form(TWO_BY_THREE)[form]
    matrix = _read(file, data, content_type)
    np.testing.assert_array_equal(matrix.toarray(), TWO_BY_THREE)
    assert matrix.indices.tolist() == [0, 1, 2]
    assert (matrix.indices.dtype.str, matrix.data.dtype.str) == ("<i8", "<f8")


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.sampled_from(["csr", "csc", "coo"]))
def test_any_sparse_matrix_is_read_as_scipy_wrote_it(folder: Path, seed: int, density: float, layout: str) -> None:
    made: Any = sp.random_array((5, 7), density=density, rng=seed)
    matrix = _read(folder / "upload", npz(made.asformat(layout)))
    np.testing.assert_array_equal(matrix.toarray(), made.toarray())


@pytest.mark.parametrize("matrix", [sp.csr_array((2, 3)), sp.csc_array((2, 3)), sp.coo_array((2, 3))])
def test_a_matrix_without_entries_is_one(file: Path, matrix: sp.sparray) -> None:
    read = _read(file, npz(matrix))
    assert (read.shape, read.nnz) == ((2, 3), 0)


def test_the_old_matrix_classes_are_read_too(file: Path) -> None:
    np.testing.assert_array_equal(_read(file, npz(sp.csr_matrix(TWO_BY_THREE))).toarray(), TWO_BY_THREE)


_MEMBERS = "a sparse matrix saved by scipy holds format, shape, data and indices, indptr or row, col, each once"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a readable .npz"),
        (b"hello", "not a readable .npz"),
        (b"PK\x03\x04", "not a readable .npz"),
        (csr_with()[:-30], "not a readable .npz"),
        (csr_with()[:100], "not a readable .npz"),
        (zipped([]), _MEMBERS),
        (zipped(members() + members()[:1]), _MEMBERS),
        (csr_with(data=None), _MEMBERS),
        (csr_with(evil=b""), _MEMBERS),
        (zipped([*members(), ("../../etc/evil.npy", npy(1))]), _MEMBERS),
        (zipped([*members(), ("/etc/evil.npy", npy(1))]), _MEMBERS),
        (zipped([*members(), ("inner.zip", csr_with())]), _MEMBERS),
        (csr_with(row=[0], col=[0]), _MEMBERS),
        (npz(sp.dia_array(TWO_BY_THREE)), _MEMBERS),
        (npz(sp.bsr_array(TWO_BY_THREE)), "its format is 'bsr'; csr, csc and coo are read"),
        (csr_with(format=np.array(b"coo")), "its format is 'coo'"),
        (csr_with(format=np.array(b"\xff\xfe")), "csr, csc and coo are read"),
        (csr_with(format=np.array(3)), "its format is '3'"),
        (csr_with(format=bytes(5000)), "format.npy has 5000 bytes; it should be tiny"),
        (csr_with(shape=np.zeros(1000, int)), "shape.npy has 8128 bytes; it should be tiny"),
        (encrypted(csr_with()), "format.npy is encrypted or compressed in an unusual way"),
        (zipped(members(), compression=zipfile.ZIP_LZMA), "encrypted or compressed in an unusual way"),
        (zipped(members(), compression=zipfile.ZIP_BZIP2), "encrypted or compressed in an unusual way"),
        (csr_with(shape=np.array([2.0, 3.0])), r"shape is \[2.0, 3.0\]; it needs two whole numbers"),
        (csr_with(shape=np.array([2])), r"shape is \[2\]"),
        (csr_with(shape=np.array([2, 3, 1])), r"shape is \[2, 3, 1\]"),
        (csr_with(shape=np.array([[2, 3]])), r"shape is \[\[2, 3\]\]"),
        (csr_with(shape=np.array([-2, 3])), r"shape is \[-2, 3\]"),
        (csr_with(shape=np.array([True, True])), r"shape is \[True, True\]"),
        (csr_with(shape=np.array([b"2", b"3"])), "it needs two whole numbers"),
        (csr_with(shape=np.array([2, 2**40])), "1099511627776 columns; the limit is 2147483648"),
        (csr_with(shape=np.array([2**33, 2**33])), "8589934592 rows; the limit is 10000000"),
        (csr_with(shape=np.array([2, 2**64 - 1], dtype=np.uint64)), "18446744073709551615 columns"),
        (csr_with(shape=np.array([0, 3])), r"shape \(0, 3\); it needs at least one row"),
        (csr_with(shape=np.array([2, 0])), r"shape \(2, 0\); it needs at least one row"),
        (csr_with(data=npy_saying("'<f8'", "(2000000000,)", bytes(16))), "data.npy promises 16000000128 bytes"),
        (csr_with(indices=[0, 1, 3]), r"indices\[2\] is 3; it must be from 0 to 2"),
        (csr_with(indices=[0, -1, 2]), r"indices\[1\] is -1"),
        (csr_with(indices=np.array([0, 1, 2**64 - 1], dtype=np.uint64)), r"indices\[2\] is 18446744073709551615"),
        (csr_with(indices=[0.0, 1.0, 2.0]), "indices holds float64; it needs integers"),
        (csr_with(indices=[0, 1]), r"equally long: indices \(2,\), data \(3,\)"),
        (csr_with(indptr=[1, 2, 3]), "indptr runs from 1 to 3"),
        (csr_with(indptr=[0, 2, 4]), "indptr runs from 0 to 4; it must run from 0 to the 3 stored values"),
        (csr_with(indptr=[0, 4, 3]), "indptr falls from 4 to 3 at position 2"),
        (csr_with(indptr=[0, 3]), r"indptr has int64 shape \(2,\); it needs 3 integers"),
        (csr_with(indptr=np.array([], dtype=int)), r"indptr has int64 shape \(0,\)"),
        (csr_with(indptr=[0.0, 2.0, 3.0]), "indptr has float64"),
        (csr_with(data=[1.0, np.nan, np.inf]), "2 of the matrix's 3 stored values are NaN or infinite"),
        (csr_with(data=[1e308, 1e308, 1.0], indices=[1, 1, 2]), "summing duplicate entries overflowed"),
        (csr_with(data=np.ones(3, complex)), "holds complex128"),
        (csr_with(data=np.ones(3, bool)), "holds bool"),
        (csr_with(data=np.ones(3, "M8[s]")), "holds datetime64"),
        (csr_with(data=np.ones(3, [("a", "f8")])), "holds "),
        (csr_with(data=np.array([b"1", b"2", b"3"])), "holds .S1"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,  # an archive tells the time it was written
)
def test_what_is_no_sound_matrix_is_refused_with_the_place_named(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        _read(file, data)
    assert caught.value.pointer == "/matrix"


def test_float16_is_refused_as_documented(file: Path) -> None:
    with pytest.raises(InvalidInput, match="holds float16"):
        _read(file, csr_with(data=np.ones(3, np.float16)))


def test_a_damaged_member_is_refused(file: Path) -> None:
    data = bytearray(csr_with(data=np.array([0.1, 0.2, 0.3])))
    at = data.index(b"data.npy") + len(b"data.npy")
    data[at + 3] ^= 0xFF
    with pytest.raises(InvalidInput):
        _read(file, bytes(data))


def test_a_wrong_check_sum_is_refused(file: Path) -> None:
    data = zipped(members(), compression=zipfile.ZIP_STORED).replace(
        np.array([1.0, 2.0, 3.0]).tobytes(), np.array([9.0, 2.0, 3.0]).tobytes()
    )
    with pytest.raises(InvalidInput, match=r"not a readable \.npz"):
        _read(file, data)


def test_a_member_that_unpacks_to_less_than_it_says_is_refused(file: Path) -> None:
    data = bytearray(csr_with(data=npy_saying("'<f8'", "(100,)", bytes(24))))
    entry = data.index(b"data.npy", data.index(b"PK\x01\x02")) - 46
    data[entry + 24 : entry + 28] = (128 + 800).to_bytes(4, "little")
    with pytest.raises(InvalidInput, match=r"not a readable \.npz"):
        _read(file, bytes(data))


def _overlapping() -> bytes:
    """Give an .npz whose data.npy begins, by the table of contents, where indices.npy does."""
    data = bytearray(zipped(members(), compression=zipfile.ZIP_STORED))
    table = data.index(b"PK\x01\x02")
    places = {name: data.index(f"{name}.npy".encode(), table) - 4 for name in ("data", "indices")}
    data[places["data"] : places["data"] + 4] = data[places["indices"] : places["indices"] + 4]
    return bytes(data)


def test_members_that_share_bytes_are_refused(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"data\.npy and indices\.npy overlap in the \.npz"):
        _read(file, _overlapping())


def test_a_table_of_contents_of_many_members_is_not_taken_in(file: Path) -> None:
    data = zipped([(f"{number}.npy", b"") for number in range(25_000)], compression=zipfile.ZIP_STORED)
    with pytest.raises(InvalidInput, match=r"not a readable \.npz"):
        _read(file, data)


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.npy").write_bytes(npy([1.0, 2.0, 3.0]))
    link = zipfile.ZipInfo("data.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members(data=None):
            archive.writestr(name, data)
        archive.writestr(link, str(tmp_path / "secret.npy"))
    with pytest.raises(InvalidInput, match=r"data\.npy is not a NumPy \.npy file"):
        _read(file, buffer.getvalue())


def test_a_broken_member_that_no_number_needs_is_refused_too(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"_is_array\.npy is not a NumPy"):
        _read(file, csr_with(_is_array=b"broken"))


def test_a_bomb_is_refused_by_its_table_of_contents(file: Path) -> None:
    data = bomb()
    assert len(data) < 400_000
    with pytest.raises(InvalidInput, match="more than 200-fold; save it uncompressed"):
        _read(file, data)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bytes": 600}, "unpacks to .* bytes; the limit is 600"),
        ({"targets": 1}, "2 rows; the limit is 1"),
        ({"units": 2}, "3 columns; the limit is 2"),
        ({"nonzeros": 2}, "3 entries; the limit is 2"),
    ],
)
def test_each_limit_is_held_exactly(file: Path, changed: dict[str, int], words: str) -> None:
    file.write_bytes(csr_with())
    exact = dataclasses.replace(ROOMY, targets=2, units=3, nonzeros=3, bytes=10_000)
    formats.read_matrix(file, NPZ, exact, "/matrix")
    with pytest.raises(InvalidInput, match=words):
        formats.read_matrix(file, NPZ, dataclasses.replace(exact, **changed), "/matrix")


@pytest.mark.parametrize("name", ["data", "indices", "indptr", "shape", "format"])
def test_objects_in_any_member_are_named_and_never_unpickled(file: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    holder = np.empty(1, dtype=object)
    holder[0] = Canary(canary)
    changed: Any = {name: npy(holder)}
    with pytest.raises(InvalidInput, match=f"{name}.npy holds Python objects") as caught:
        _read(file, csr_with(**changed))
    assert caught.value.code == "pickle_not_allowed"
    assert not canary.exists()


def test_pickles_are_named_and_never_opened(file: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = pickle.dumps(Canary(canary))
    with pytest.raises(InvalidInput, match="the matrix is a pickle") as caught:
        _read(file, pickled)
    assert caught.value.code == "pickle_not_allowed"
    with pytest.raises(InvalidInput, match=r"data\.npy is a pickle"):
        _read(file, csr_with(data=pickled))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"indices": [1, 0, 2]}, "indices_sorted"),
        ({"indices": [1, 1, 2]}, "duplicates_summed"),
    ],
)
def test_what_can_be_mended_is_mended_and_said(file: Path, changed: dict[str, list[int]], code: str) -> None:
    file.write_bytes(csr_with(**changed))
    matrix, findings = canonical(formats.read_matrix(file, NPZ, ROOMY, "/matrix"))
    assert [finding.code for finding in findings] == [code]
    dense = np.zeros((2, 3))
    np.add.at(dense, ([0, 0, 1], changed["indices"]), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(matrix.toarray(), dense)


def test_the_form_of_the_numbers_leaves_no_trace(file: Path) -> None:
    plain = _read(file, csr_with())
    packed: NDArray[Any]
    for packed in (np.array([1, 2, 3], "u1"), np.array([1, 2, 3], ">f4"), np.array([1, 2, 3], "i8")):
        other = _read(file, csr_with(data=packed, indices=np.array([0, 1, 2], "i1"), indptr=np.array([0, 2, 3], ">u8")))
        for name in ("data", "indices", "indptr"):
            assert getattr(other, name).tobytes() == getattr(plain, name).tobytes()
            assert getattr(other, name).dtype == getattr(plain, name).dtype
