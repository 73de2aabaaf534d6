"""Sound files with a few bytes changed: refused, or read as the format's own library reads them; never anything else.

Ten thousand files a parser. A case is a number, from which the changes are drawn: that is quick, and names the file.
"""

import io
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from l0core.errors import L0Error
from l0core.matrices import canonical
from service.problems import formats
from service.problems.limits import Limits
from tests.service.problems.files import (
    MATRIX_MARKET,
    NPY,
    NPZ,
    PARQUET,
    SAFETENSORS,
    TWO_BY_THREE,
    csr_with,
    members,
    mm,
    npy,
    npz,
    parquet,
    tensors_with,
    triples_with,
    zipped,
)

_SMALL = Limits(nonzeros=10_000, units=10_000, targets=10_000, bytes=2**20, memory_bytes=2**30, seconds=60.0)
_MOST_MEMORY = 8 * 2**20
_CASES = 10_000

Changes = list[tuple[float, int]]


def changed(data: bytes, changes: Changes) -> bytes:
    """Give the bytes with some flipped: (place as a share of the length, bits to flip)."""
    mutable = bytearray(data)
    for place, bits in changes:
        mutable[int(place * len(mutable))] ^= bits
    return bytes(mutable)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Give the bytes with up to four flipped, or a piece cut out, doubled, or moved to another place."""
    if draw.random() < 0.7:
        return changed(data, [(draw.random(), draw.randint(1, 255)) for _ in range(draw.randint(1, 4))])
    begin, end, place = sorted(draw.randrange(len(data) + 1) for _ in range(3))
    piece = data[begin:end]
    rest = data[:begin] + data[end:]
    return draw.choice([rest, data[:end] + piece + data[end:], data[:place] + piece + data[place:], data[:end]])


def _changed_member(draw: random.Random) -> bytes:
    """Give an .npz with one member changed and its check sum right."""
    parts = members()
    at = draw.randrange(len(parts))
    parts[at] = (parts[at][0], mutated(parts[at][1], draw))
    return zipped(parts, compression=draw.choice([0, 8]))


def _of(*sound: bytes) -> Callable[[random.Random], bytes]:
    return lambda draw: mutated(draw.choice(sound), draw)


def _by_scipy(data: bytes) -> NDArray[np.float64]:
    loaded: Any = sp.load_npz(io.BytesIO(data))
    return _sums(loaded.tocsr().astype(np.float64))


def _by_numpy(data: bytes) -> NDArray[np.float64]:
    return _sums(np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64))


def _by_words(data: bytes) -> NDArray[np.float64]:
    """Read Matrix Market word by word; scipy's own reader does not survive all of these files."""
    lines = [line.split() for line in data.decode("latin-1").split("\n")]
    kind, _, symmetry = (word.lower() for word in lines[0][2:])
    rest = [words for words in lines[1:] if words and not words[0].startswith("%")]
    rows, columns = (int(word) for word in rest[0][:2])
    if kind == "array":
        return _sums(np.array([float(word) for (word,) in rest[1:]]).reshape((rows, columns), order="F"))
    dense = np.zeros((rows, columns))
    for row, col, value in rest[1:]:
        dense[int(row) - 1, int(col) - 1] += float(value)
        if symmetry == "symmetric" and row != col:
            dense[int(col) - 1, int(row) - 1] += float(value)
    return _sums(dense)


def _by_arrow(data: bytes) -> NDArray[np.float64]:
    table = pq.read_table(io.BytesIO(data), use_threads=False)
    row, col, value = (table[name].to_numpy() for name in ("row", "col", "value"))
    shape = (int(row.max()) + 1, int(col.max()) + 1)
    return _sums(sp.coo_array((value.astype(np.float64), (row, col)), shape=shape).tocsr())


def _by_safetensors(data: bytes) -> NDArray[np.float64]:
    held = safetensors.numpy.load(data)
    if len(held) == 1:
        return _sums(next(iter(held.values())).astype(np.float64))
    parts = (held["data"].astype(np.float64), held["indices"], held["indptr"])
    rows, columns = held["shape"].tolist()
    return _sums(sp.csr_array(parts, shape=(rows, columns)))


def _sums(matrix: Any) -> NDArray[np.float64]:
    return np.asarray(matrix @ np.ones(matrix.shape[1]))


Sound = tuple[str, Callable[[random.Random], bytes], Callable[[bytes], NDArray[np.float64]], int]
_TRIPLES = triples_with()
PARSERS: dict[str, Sound] = {
    "npz": (NPZ, _of(csr_with(), npz(sp.coo_array(TWO_BY_THREE)), npz(sp.csc_array(TWO_BY_THREE))), _by_scipy, 2),
    "npz, a member": (NPZ, _changed_member, _by_scipy, 2),
    "npy": (NPY, _of(npy(TWO_BY_THREE), npy(TWO_BY_THREE.astype(">f4"))), _by_numpy, 1),
    "Matrix Market": (
        MATRIX_MARKET,
        _of(
            mm("9 9 30", *(f"{i % 9 + 1} {i % 7 + 1} {i / 7}" for i in range(30))),
            mm("9 9 30", *(f"{i % 5 + 5} {i % 4 + 1} {3 * i}" for i in range(30)), kind="coordinate integer symmetric"),
            mm("4 5", *(f"{i}.5e-{i}" for i in range(20)), kind="array real general"),
        ),
        _by_words,
        1,
    ),
    "Parquet": (
        PARQUET,
        _of(parquet(_TRIPLES, compression="none"), parquet(_TRIPLES, compression="zstd", store_schema=False)),
        _by_arrow,
        1,
    ),
    "safetensors": (
        SAFETENSORS,
        _of(tensors_with(), safetensors.numpy.save({"matrix": TWO_BY_THREE})),
        _by_safetensors,
        1,
    ),
}


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """A file in memory where there is such a place: a disk takes longer to write it than a parser to read it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "upload"


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def _held_to_the_law(file: Path, sound: Sound, seed: int) -> bool:
    """Check that a changed file is refused, or read as by its own library; gives whether it was read.

    What else a reader may raise ends its process, which the sandbox answers with 422 too.
    """
    content_type, make, trusted, _ = sound
    data = make(random.Random(seed))
    file.write_bytes(data)
    try:
        matrix, _ = canonical(formats.read_matrix(file, content_type, _SMALL, "/matrix"))
    except L0Error:
        return False
    assert np.isfinite(matrix.data).all()
    assert matrix.has_canonical_format
    np.testing.assert_allclose(_sums(matrix), trusted(data), rtol=1e-9)
    return True


@pytest.mark.parametrize("parser", PARSERS)
def test_a_changed_file_is_refused_or_read_rightly(file: Path, parser: str) -> None:
    sound = PARSERS[parser]
    read = []

    @settings(
        max_examples=_CASES // sound[3],
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**64 - 1))
    def hold(seed: int) -> None:
        read.append(_held_to_the_law(file, sound, seed))

    hold()
    assert any(read)
    assert not all(read)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("parser", PARSERS)
def test_a_changed_file_takes_little_memory(file: Path, parser: str) -> None:
    for seed in range(200):
        tracemalloc.reset_peak()
        _held_to_the_law(file, PARSERS[parser], seed)
        assert tracemalloc.get_traced_memory()[1] < _MOST_MEMORY
