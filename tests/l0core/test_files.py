"""A person's own files: each format gives the same numbers, and what cannot be read is one sentence."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse as sp

from l0core.errors import InvalidInput
from l0core.files import read_matrix, read_names, read_vector

DENSE = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])


def _parquet(path: Path) -> None:
    entries = sp.coo_array(DENSE)
    pq.write_table(pa.table({"row": entries.row, "col": entries.col, "value": entries.data}), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    ".npz": lambda path: sp.save_npz(path, sp.csr_array(DENSE)),
    ".npy": lambda path: np.save(path, DENSE),
    ".mtx": lambda path: scipy.io.mmwrite(path, sp.coo_array(DENSE)),
    ".parquet": _parquet,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_matrix(suffix: str, tmp_path: Path) -> None:
    WRITERS[suffix](tmp_path / f"M{suffix}")
    matrix = read_matrix(tmp_path / f"M{suffix}")
    assert (matrix if isinstance(matrix, np.ndarray) else matrix.toarray()).tolist() == DENSE.tolist()


def test_both_formats_give_the_same_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", [1.5, 2.5])
    pq.write_table(pa.table({"any": [1.5, 2.5]}), tmp_path / "y.parquet")
    assert [read_vector(tmp_path / name).tolist() for name in ("y.npy", "y.parquet")] == [[1.5, 2.5]] * 2


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("content", [b"", b"nothing of this kind", pickle.dumps([1])])
def test_a_file_that_is_something_else_is_refused_by_its_name(suffix: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"M{suffix}").write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"M{suffix} holds no matrix that can be read: ."):
        read_matrix(tmp_path / f"M{suffix}")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"y\.npy holds no numbers that can be read: Object arrays cannot be loaded"):
        read_vector(tmp_path / "y.npy")


def test_a_table_of_other_columns_is_no_matrix_and_no_vector(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row": [0], "column": [0]}), tmp_path / "x.parquet")
    with pytest.raises(InvalidInput, match="holds no matrix"):
        read_matrix(tmp_path / "x.parquet")
    with pytest.raises(InvalidInput, match="it has 2 columns"):
        read_vector(tmp_path / "x.parquet")


def test_a_suffix_that_tells_no_format_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"ends in '\.xls', which is not read here; write numbers as one of \.npy"):
        read_vector(tmp_path / "y.xls")


def test_names_are_lines(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a b\ncafé\n", encoding="utf-8")
    assert read_names(tmp_path / "names.txt") == ["a b", "café"]
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="holds no names, one a line in UTF-8"):
        read_names(tmp_path / "names.txt")
