"""A sampling problem: units by columns, design weights, perhaps an outcome. Validated once, then trusted everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from l0core import arrays, matrices
from l0core.arrays import Axis, FloatArray
from l0core.calibration.problem import CalibrationProblem
from l0core.canonical import Addressed, Content
from l0core.errors import InvalidInput, NonfiniteInput
from l0core.findings import Finding
from l0core.names import checked as names_of
from l0core.sampling.findings import structural_findings

KIND_NAME = "sampling"


@dataclass(frozen=True, kw_only=True)
class SamplingProblem(Addressed):
    """N units by P columns. `features` is N x P float64 CSR; every array is finite and of the length its name says.

    `targets` (P) are the totals to reproduce, those of the whole where none were given. `outcome` and `strata` (N) are
    None when not given. Build one with `SamplingProblem.build`.
    """

    features: sp.csr_array
    targets: FloatArray
    design_weights: FloatArray
    names: tuple[str, ...]
    holdout: NDArray[np.bool_]
    outcome: FloatArray | None = None
    strata: NDArray[np.int64] | None = None
    input_findings: tuple[Finding, ...] = ()

    @classmethod
    def build(
        cls,
        features: object,
        *,
        targets: ArrayLike | None = None,
        initial_weights: ArrayLike | None = None,
        outcome: ArrayLike | None = None,
        column_names: Sequence[str] | None = None,
        holdout: ArrayLike | None = None,
        strata: ArrayLike | None = None,
    ) -> Self:
        """Check everything and give the problem; raises InvalidInput (see `l0core.errors`) naming the first fault.

        `features` is any scipy sparse or dense 2-D array, or unchecked parts (`l0core.matrices`).

        >>> problem = SamplingProblem.build([[1.0, 0.0], [1.0, 2.0]], initial_weights=[3, 5])
        >>> problem.n_units, problem.n_columns, problem.targets.tolist()
        (2, 2, [8.0, 10.0])
        """
        raw = features if isinstance(features, matrices.RawMatrix) else matrices.parts(features)
        canonical, notes = matrices.canonical(raw, pointer="/features")
        n, p = canonical.shape
        per_unit = Axis(length=n, noun="rows of the features")
        per_column = Axis(length=p, noun="columns of the features")
        design = _design_weights(initial_weights, per_unit)
        return cls(
            features=canonical,
            targets=_targets(targets, canonical, design, per_column),
            design_weights=design,
            names=names_of(column_names, field="column_names", usual="column", axis=per_column),
            holdout=_holdout(holdout, per_column),
            outcome=None if outcome is None else arrays.vector(outcome, name="outcome", axis=per_unit),
            strata=None if strata is None else arrays.integers(strata, name="strata", axis=per_unit),
            input_findings=tuple(notes),
        )

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.features.shape[0])

    @property
    def n_columns(self) -> int:
        """P, held-out columns included."""
        return int(self.features.shape[1])

    @property
    def n_targets(self) -> int:
        """P: each column has a total."""
        return self.n_columns

    @property
    def sizes(self) -> dict[str, int]:
        """What the service shows beside a problem's id."""
        return {"n_units": self.n_units, "n_columns": self.n_columns, "nnz": int(self.features.nnz)}

    @cached_property
    def whole(self) -> FloatArray:
        """The weighted total of each column over all units."""
        return totals_of(self.features, self.design_weights)

    @property
    def asks_for_the_whole(self) -> bool:
        """Whether the totals to reproduce are those of the whole, which all units together meet."""
        return bool(np.array_equal(self.targets, self.whole))

    @cached_property
    def totals(self) -> CalibrationProblem:
        """The columns' totals as targets over the units."""
        return CalibrationProblem(
            matrix=self.features.T.tocsr(),
            targets=self.targets,
            design_weights=self.design_weights,
            names=self.names,
            target_weights=np.ones(self.n_columns),
            holdout=self.holdout,
        )

    @cached_property
    def findings(self) -> list[Finding]:
        """What is wrong or doubtful: mended input first, then what the numbers say."""
        return [*self.input_findings, *structural_findings(self)]

    def estimates(self, weights: FloatArray) -> FloatArray:
        """Give the columns' totals under weights of all units."""
        return totals_of(self.features, weights)

    @cached_property
    def content(self) -> Content:
        """The problem as named arrays and values, defaults filled in."""
        named: dict[str, NDArray[Any] | None] = {
            "indptr": self.features.indptr,
            "indices": self.features.indices,
            "data": self.features.data,
            "targets": self.targets,
            "initial_weights": self.design_weights,
            "holdout": self.holdout.astype(np.int64),
            "outcome": self.outcome,
            "strata": self.strata,
        }
        return Content(
            kind=KIND_NAME,
            arrays={name: array for name, array in named.items() if array is not None},
            values={"n_units": self.n_units, "target_names": list(self.names)},
            notes=[finding.model_dump() for finding in self.input_findings],
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, trusting it: it was validated when it was built."""
        content = Content.load(path)
        held, names = content.arrays, tuple(content.values["target_names"])
        shape = (content.values["n_units"], len(names))
        return cls(
            features=sp.csr_array((held["data"], held["indices"], held["indptr"]), shape=shape),
            targets=held["targets"],
            design_weights=held["initial_weights"],
            names=names,
            holdout=held["holdout"].astype(np.bool_),
            outcome=held.get("outcome"),
            strata=held.get("strata"),
            input_findings=tuple(Finding.model_validate(note) for note in content.notes),
        )


def totals_of(features: sp.csr_array, weights: FloatArray) -> FloatArray:
    """Give the weighted total of each column."""
    return np.asarray(features.T @ weights, dtype=np.float64)


def _design_weights(values: ArrayLike | None, per_unit: Axis) -> FloatArray:
    if values is None:
        return np.ones(per_unit.length)
    weights = arrays.vector(
        values, name="initial_weights", axis=per_unit, rule=lambda w: w >= 0, need="must be 0 or more"
    )
    if not weights.any():
        raise InvalidInput("initial_weights are all 0; at least one unit needs a weight", pointer="/initial_weights")
    return weights


def _targets(values: ArrayLike | None, features: sp.csr_array, design: FloatArray, per_column: Axis) -> FloatArray:
    if values is not None:
        return arrays.vector(values, name="targets", axis=per_column)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused here
        totals = totals_of(features, design)
    bad = np.flatnonzero(~np.isfinite(totals))
    if bad.size:
        raise NonfiniteInput(
            f"the weighted total of column {bad[0]} overflows to infinity ({bad.size} such columns): divide the "
            "column or the weights by a constant",
            pointer="/features",
        )
    return totals + 0.0


def _holdout(values: ArrayLike | None, per_column: Axis) -> NDArray[np.bool_]:
    if values is None:
        return np.zeros(per_column.length, dtype=np.bool_)
    held = arrays.booleans(values, name="holdout", axis=per_column)
    if held.all():
        raise InvalidInput("holdout leaves out every column; at least one must stay in the fit", pointer="/holdout")
    return held
