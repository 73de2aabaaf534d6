"""Small files with large promises cost no memory: the peak of this process is looked at while each is refused (S2)."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from l0core.errors import L0Error
from l0core.matrices import canonical
from service.problems import formats
from tests.service.problems.files import (
    MATRIX_MARKET,
    NPY,
    NPZ,
    PARQUET,
    ROOMY,
    SAFETENSORS,
    bomb,
    csr_with,
    mm,
    npy_saying,
    parquet,
    safetensors_saying,
    tensors_with,
    triples_with,
)

_MOST_BYTES = 50 * 2**20
_TWO_BILLION = {"dtype": "F64", "shape": [2_000_000_000], "data_offsets": [0, 16_000_000_000]}
_PROMISES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npz: two billion numbers": (NPZ, lambda: csr_with(data=npy_saying("'<f8'", "(2000000000,)", bytes(16)))),
    "npz: a bomb": (NPZ, bomb),
    "npz: two billion rows": (NPZ, lambda: csr_with(shape=[2_000_000_000, 3])),
    "npy: two billion numbers": (NPY, lambda: npy_saying("'<f8'", "(2, 1000000000)", bytes(16))),
    "npy: a header of a megabyte": (NPY, lambda: npy_saying("'<f8'", "(1,)" + " " * 60_000, bytes(8))),
    "Matrix Market: two billion entries": (MATRIX_MARKET, lambda: mm("2 3 2000000000", "1 1 1")),
    "Matrix Market: two billion rows": (MATRIX_MARKET, lambda: mm("2000000000 3 1", "1 1 1")),
    "Matrix Market: a large array": (MATRIX_MARKET, lambda: mm("1000000 2000", "1", kind="array real general")),
    "Parquet: many rows of nothing": (PARQUET, lambda: _repeated(40_000_000)),
    "Parquet: a large shape": (PARQUET, lambda: parquet(triples_with(), shape="[2000000000, 3]")),
    "Parquet: a far row": (PARQUET, lambda: parquet(triples_with(row=[0, 0, 2_000_000_000]))),
    "safetensors: two billion numbers": (SAFETENSORS, lambda: safetensors_saying({"x": _TWO_BILLION}, bytes(16))),
    "safetensors: a long header": (SAFETENSORS, lambda: safetensors_saying({}, bytes(16), length=2**40)),
    "safetensors: two billion rows": (SAFETENSORS, lambda: tensors_with(shape=[2_000_000_000, 3])),
}


def _repeated(rows: int) -> bytes:
    zeros = np.zeros(rows, np.int8)
    return parquet({"row": zeros, "col": zeros, "value": zeros}, compression="zstd")


def _memory(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found.group(1)) * 1024


@pytest.mark.parametrize("name", _PROMISES)
def test_a_small_file_with_a_large_promise_is_refused_for_little_memory(name: str, tmp_path: Path) -> None:
    content_type, make = _PROMISES[name]
    file = tmp_path / "upload"
    file.write_bytes(make())
    assert file.stat().st_size < 2**20
    formats.FORMATS[content_type].matrix_reader()  # what the library itself takes is not counted
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what it is now
    before = _memory("VmRSS")
    with pytest.raises(L0Error):
        canonical(formats.read_matrix(file, content_type, ROOMY, "/matrix"))
    assert _memory("VmHWM") - before < _MOST_BYTES
