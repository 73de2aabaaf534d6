"""What comes back of a job, as arrays."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Curves = dict[str, dict[str, NDArray[np.float64]]]
_PARTS = ("step", "last", "min", "max")


@dataclass(frozen=True, kw_only=True, eq=False)
class ActiveWeights:
    """The kept units of `n_units`: their indices, ascending, and their weights, in float64."""

    indices: NDArray[np.int64]
    values: NDArray[np.float64]
    n_units: int

    def as_sparse(self) -> "sp.csc_array[np.float64]":
        """Give a column of n_units weights: M @ it are the totals."""
        rows, columns = self.indices, np.zeros_like(self.indices)
        return sp.csc_array((self.values, (rows, columns)), shape=(self.n_units, 1))

    def as_dense(self) -> NDArray[np.float64]:
        """Give the weights of all units, 0 for one that is not kept."""
        weights = np.zeros(self.n_units)
        weights[self.indices] = self.values
        return weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Totals by name, in the problem's order."""

    names: list[str]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG; a notebook shows it."""

    svg: str

    def save(self, path: str | Path) -> Path:
        """Write it to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")
        return Path(path)

    def _repr_svg_(self) -> str:
        return self.svg


def as_vector(reply: httpx.Response) -> NDArray[np.float64]:
    """Read a .npy."""
    read = np.lib.format.read_array(io.BytesIO(reply.content), allow_pickle=False)
    return cast("NDArray[np.float64]", read)


def as_records(reply: httpx.Response) -> NDArray[np.void]:
    """Read a .npy with named fields."""
    read = np.lib.format.read_array(io.BytesIO(reply.content), allow_pickle=False)
    return cast("NDArray[np.void]", read)


def as_active(reply: httpx.Response) -> ActiveWeights:
    """Read the active set of a result."""
    body = reply.json()
    return ActiveWeights(
        indices=np.array(body["indices"], dtype=np.int64),
        values=np.array(body["values"], dtype=np.float64),
        n_units=body["n_units"],
    )


def as_values(reply: httpx.Response) -> NDArray[np.float64]:
    """Read totals without their names."""
    return np.array(reply.json()["values"], dtype=np.float64)


def as_predictions(reply: httpx.Response) -> Predictions:
    """Read totals with their names."""
    return Predictions(names=reply.json()["names"], values=as_values(reply))


def as_curves(reply: httpx.Response) -> Curves:
    """Read loss curves: step, last, min and max by key; what was not finite is NaN."""
    curves = reply.json()["metrics"]
    return {key: {part: np.array(curve[part], dtype=np.float64) for part in _PARTS} for key, curve in curves.items()}
