"""A calibration problem from the two tables people have: one of units, one of published totals.

A total is the weighted sum of a variable over the units where a condition holds: `agi` where `filer == 1 and agi <
10000`. With no variable it counts units; with no condition it takes them all.
"""

import csv
import gzip
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.errors import InvalidInput

Table = Mapping[str, NDArray[Any]]
_COMPARISON = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*(\S.*?)\s*")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """One published total: its name and value, the variable summed (empty: units are counted), and where."""

    name: str
    value: float
    variable: str = ""
    where: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Units by column, and the totals they shall meet."""

    units: Table
    targets: tuple[TargetSpec, ...]

    @property
    def names(self) -> list[str]:
        """The targets' names."""
        return [target.name for target in self.targets]

    @property
    def values(self) -> FloatArray:
        """The targets' values."""
        return np.array([target.value for target in self.targets])

    def matrix(self) -> sp.csr_array:
        """Give the Q x N matrix: what each unit contributes to each total, per unit of weight."""
        return sp.csr_array(np.stack([contribution(self.units, target) for target in self.targets]))

    def weights(self, column: str = "weight") -> FloatArray:
        """Give the survey's own weights."""
        return np.asarray(_column(self.units, column), dtype=np.float64)


def contribution(units: Table, target: TargetSpec) -> FloatArray:
    """Give what each unit contributes to one total.

    >>> units = {"agi": np.array([5.0, 20.0]), "filer": np.array([1.0, 1.0])}
    >>> contribution(units, TargetSpec(name="AGI", value=0, variable="agi", where="filer == 1 and agi < 10")).tolist()
    [5.0, 0.0]
    """
    size = len(next(iter(units.values())))
    amount = _column(units, target.variable) if target.variable else np.ones(size)
    return np.where(where(units, target.where), amount, 0.0).astype(np.float64)


def where(units: Table, condition: str) -> NDArray[np.bool_]:
    """Give the units for which every comparison of `condition` holds; comparisons are joined by `and`."""
    chosen = np.ones(len(next(iter(units.values()))), dtype=np.bool_)
    for comparison in condition.split(" and ") if condition.strip() else []:
        chosen &= _compare(units, comparison)
    return chosen


def read_survey(units: Path, targets: Path) -> Survey:
    """Read a table of units (CSV, gzipped or not) and one of totals (name, value, variable, where, source)."""
    specs = tuple(
        TargetSpec(
            name=row["name"],
            value=float(row["value"]),
            variable=row["variable"],
            where=row["where"],
            source=row["source"],
        )
        for row in _rows(targets)
    )
    return Survey(units=_columns(_rows(units)), targets=specs)


def _compare(units: Table, comparison: str) -> NDArray[np.bool_]:
    parsed = _COMPARISON.fullmatch(comparison)
    if parsed is None:
        raise InvalidInput(f"'{comparison.strip()}' is not a comparison such as 'agi >= 10000'", pointer="/where")
    name, symbol, text = parsed.groups()
    column = _column(units, name)
    value = text.strip("'\"") if column.dtype.kind == "U" else _number(text, comparison)
    return np.asarray(_OPERATORS[symbol](column, value), dtype=np.bool_)


def _number(text: str, comparison: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(
            f"'{comparison.strip()}' compares numbers with '{text}'; it needs a number there", pointer="/where"
        ) from None


def _column(units: Table, name: str) -> NDArray[Any]:
    if name not in units:
        raise InvalidInput(f"there is no column '{name}'; there are {', '.join(units)}", pointer="/variable")
    return units[name]


def _rows(path: Path) -> list[dict[str, str]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(content.decode("utf-8").splitlines()))


def _columns(rows: Sequence[Mapping[str, str]]) -> Table:
    return {name: _numbers_or_text([row[name] for row in rows]) for name in rows[0]}


def _numbers_or_text(values: list[str]) -> NDArray[Any]:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return np.array(values)
