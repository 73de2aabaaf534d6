"""The content of a problem: its digest is of the numbers, and of all of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core import canonical
from l0core.canonical import Content


def _content(**changed: Any) -> Content:
    parts: dict[str, Any] = {
        "kind": "calibration",
        "arrays": {"a": np.array([1.0, 2.0]), "b": np.array([3, 4])},
        "values": {"n": 2, "names": ["x", "y"]},
    }
    return Content(**(parts | changed))


def test_the_digest_is_the_one_written_down() -> None:
    """Golden: a change here gives every stored problem a new address."""
    head = {"kind": "calibration", "values": {"n": 2, "names": ["x", "y"]}, "arrays": {"a": [2], "b": [2]}}
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    numbers = np.array([1.0, 2.0], dtype="<f8").tobytes() + np.array([3, 4], dtype="<i8").tobytes()
    assert _content().sha256() == hashlib.sha256(text + numbers).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        _content(kind="sampling"),
        _content(values={"n": 3, "names": ["x", "y"]}),
        _content(values={"n": 2, "names": ["y", "x"]}),
        _content(values={"n": 2, "names": ["x", "y"], "m": None}),
        _content(arrays={"a": np.array([1.0, 2.0])}),
        _content(arrays={"a": np.array([1.0, np.nextafter(2.0, 3.0)]), "b": np.array([3, 4])}),
        _content(arrays={"a": np.array([1.0, 2.0]), "b": np.array([4, 3])}),
        _content(arrays={"a": np.array([1.0, 2.0]), "c": np.array([3, 4])}),
        _content(arrays={"b": np.array([1.0, 2.0]), "a": np.array([3, 4])}),
        _content(arrays={"a": np.array([1.0]), "b": np.array([2, 3, 4])}),
        _content(arrays={"a": np.array([[1.0, 2.0]]), "b": np.array([3, 4])}),
    ],
)
def test_another_number_name_shape_or_field_is_another_digest(other: Content) -> None:
    assert other.sha256() != _content().sha256()


@given(
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=8),
    at=st.integers(0, 7),
    change=st.integers(1, 5),
)
def test_changing_any_number_changes_the_digest(values: list[int], at: int, change: int) -> None:
    other = list(values)
    other[at % len(values)] += change
    for dtype in (np.int64, np.float64):
        first, second = (Content(kind="k", arrays={"a": np.array(v, dtype=dtype)}) for v in (values, other))
        assert first.sha256() != second.sha256()


@pytest.mark.parametrize(
    "same",
    [
        {"a": np.array([1.0, 2.0], dtype=">f8"), "b": np.array([3, 4], dtype=np.int32)},
        {"a": np.array([1.0, 2.0], dtype=np.float32), "b": np.array([3, 4], dtype=">u2")},
        {"b": np.array([3, 4]), "a": np.array([2.0, 1.0])[::-1]},
    ],
)
def test_width_byte_order_strides_and_order_of_fields_do_not_matter(same: dict[str, NDArray[Any]]) -> None:
    assert _content(arrays=same).sha256() == _content().sha256()


def test_an_array_longer_than_one_chunk_is_hashed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content(kind="k", arrays={"a": np.arange(10.0)})
    whole = content.sha256()
    monkeypatch.setattr(canonical, "_CHUNK", 3)
    assert content.sha256() == whole


@pytest.mark.parametrize("most_in_header", [10, 1000])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_in_header: int) -> None:
    monkeypatch.setattr(canonical, "_MOST_IN_HEADER", most_in_header)
    content = _content(values={"names": ["größe", 'a "b"'], "none": None, "flag": True})
    content.save(tmp_path / "content")
    loaded = Content.load(tmp_path / "content")
    assert loaded.sha256() == content.sha256()
    assert (loaded.kind, loaded.values) == (content.kind, content.values)
    assert {n: a.tolist() for n, a in loaded.arrays.items()} == {n: a.tolist() for n, a in content.arrays.items()}


def test_a_value_that_is_no_json_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _content(values={"n": float("nan")}).sha256()


def test_notes_are_kept_and_are_no_part_of_the_digest(tmp_path: Path) -> None:
    noted = _content(notes=[{"code": "duplicates_summed"}])
    noted.save(tmp_path / "c.safetensors")
    assert list(Content.load(tmp_path / "c.safetensors").notes) == [{"code": "duplicates_summed"}]
    assert noted.sha256() == _content().sha256()
