"""Texts from strangers: every one comes back as it was sent, and a long one that is named often fills no memory."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from l0core.errors import InvalidInput
from service.problems import formats
from tests.service.problems.files import NPY, NPZ, PARQUET, ROOMY, npy, npz, parquet

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


def read(folder: Path, data: bytes, content_type: str) -> list[str]:
    (folder / "upload").write_bytes(data)
    return formats.read_texts(folder / "upload", content_type, ROOMY, "/target_names")


@given(NAMES)
def test_texts_are_the_same_in_both_formats(folder: Path, names: list[str]) -> None:
    wide = np.array(names, dtype=f"<U{max(map(len, names), default=1)}")
    assert read(folder, npy(wide), NPY) == names
    assert read(folder, npy(wide.astype(wide.dtype.newbyteorder(">"))), NPY) == names
    assert read(folder, parquet({"name": pa.array(names, pa.string())}), PARQUET) == names
    assert read(folder, parquet({"name": pa.array(names, pa.large_string())}), PARQUET) == names


@pytest.mark.parametrize(
    ("data", "content_type", "says"),
    [
        (npy(np.ones(3)), NPY, "dtype U"),
        (npy(np.array([["a", "b"]])), NPY, "one dimension"),
        (npy(np.array(["a"], dtype=object)), NPY, "pickled"),
        (npy(np.array([b"a"])), NPY, "dtype U"),
        (npz(sp.csr_array(np.eye(2))), NPZ, "holds no texts"),
        (parquet({"name": [1, 2]}), PARQUET, "one column of strings"),
        (parquet({"a": ["x"], "b": ["y"]}), PARQUET, "one column of strings"),
        (parquet({"name": ["x", None]}), PARQUET, "null"),
        (parquet({"name": ["x" * 4001]}), PARQUET, "more than 4000 bytes"),
        (pickle.dumps(["x"]), PARQUET, "pickle"),
    ],
    ids=["numbers", "two", "objects", "bytes", "npz", "integers", "columns", "null", "long", "pickle"],
)
def test_what_holds_no_texts_is_refused(folder: Path, data: bytes, content_type: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(folder, data, content_type)


def test_a_long_text_that_is_named_a_million_times_is_refused_by_its_dictionary(folder: Path) -> None:
    named = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, dtype=np.int32)), pa.array(["x" * 1_000_000]))
    data = parquet({"name": named.cast(pa.dictionary(pa.int32(), pa.string()))})
    assert len(data) < 100_000
    with pytest.raises(InvalidInput):
        read(folder, data, PARQUET)
