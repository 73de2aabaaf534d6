"""A calibration problem: targets, a sparse matrix, design weights. Validated once, then trusted everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from l0core import arrays, matrices
from l0core.arrays import Axis, FloatArray
from l0core.calibration import unit_rules
from l0core.calibration.findings import structural_findings
from l0core.canonical import Addressed, Content
from l0core.errors import InvalidInput
from l0core.findings import Finding
from l0core.matrices import runs_of_rows
from l0core.names import checked as names_of

KIND_NAME = "calibration"
_SMALLEST_DIVISOR = 1e-100  # its reciprocal, and that squared, are still finite
_NEED_POSITIVE = f"must be above 0 ({_SMALLEST_DIVISOR:g} at least)"
_SMALL_SHARE = 0.001  # a target below this share of the totals it is made of is measured against that share


@dataclass(frozen=True, kw_only=True)
class CalibrationProblem(Addressed):
    """Q targets over N units. `matrix` is Q x N float64 CSR; every array is finite and of the length its name says.

    `groups`, `scales` and `tolerances` are None when not given, `lower_bounds` and `upper_bounds` (of weights, not of
    ratios) when they bound nothing. `protected_units` are sorted indices. Build one with `CalibrationProblem.build`.
    """

    matrix: sp.csr_array
    targets: FloatArray
    design_weights: FloatArray
    names: tuple[str, ...]
    target_weights: FloatArray
    holdout: NDArray[np.bool_]
    groups: NDArray[np.int64] | None = None
    scales: FloatArray | None = None
    tolerances: FloatArray | None = None
    lower_bounds: FloatArray | None = None
    upper_bounds: FloatArray | None = None
    protected_units: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    input_findings: tuple[Finding, ...] = ()

    @classmethod
    def build(
        cls,
        matrix: object,
        targets: ArrayLike,
        *,
        initial_weights: ArrayLike | None = None,
        target_names: Sequence[str] | None = None,
        target_groups: ArrayLike | None = None,
        target_weights: ArrayLike | None = None,
        target_scales: ArrayLike | None = None,
        target_tolerances: ArrayLike | None = None,
        holdout: ArrayLike | None = None,
        weight_bounds: Mapping[str, ArrayLike | None] | None = None,
        protected_units: ArrayLike | None = None,
    ) -> Self:
        """Check everything and give the problem; raises InvalidInput (see `l0core.errors`) naming the first fault.

        `matrix` is any scipy sparse or dense 2-D array, or unchecked parts (`l0core.matrices`).

        >>> problem = CalibrationProblem.build([[1.0, 1.0], [0.0, 2.0]], [10.0, 8.0], initial_weights=[3, 5])
        >>> problem.n_targets, problem.n_units, problem.nnz
        (2, 2, 3)
        """
        raw = matrix if isinstance(matrix, matrices.RawMatrix) else matrices.parts(matrix)
        canonical, notes = matrices.canonical(raw)
        q, n = canonical.shape
        per_target = Axis(length=q, noun="rows of the matrix")
        bounds = unit_rules.weight_bounds(weight_bounds, n)
        return cls(
            matrix=canonical,
            targets=arrays.vector(targets, name="targets", axis=per_target),
            design_weights=_design_weights(initial_weights, n),
            names=names_of(target_names, field="target_names", usual="target", axis=per_target),
            target_weights=_positive(
                np.ones(q) if target_weights is None else target_weights, "target_weights", per_target
            ),
            holdout=_holdout(holdout, per_target),
            groups=_optional_groups(target_groups, per_target),
            scales=_optional_positive(target_scales, "target_scales", per_target),
            tolerances=_optional_positive(target_tolerances, "target_tolerances", per_target),
            lower_bounds=bounds.lower,
            upper_bounds=bounds.upper,
            protected_units=unit_rules.protected_units(protected_units, n, bounds.upper),
            input_findings=tuple(notes),
        )

    @property
    def n_targets(self) -> int:
        """Q, held-out targets included."""
        return int(self.matrix.shape[0])

    @property
    def n_units(self) -> int:
        """N."""
        return int(self.matrix.shape[1])

    @property
    def nnz(self) -> int:
        """Stored nonzeros."""
        return int(self.matrix.nnz)

    @property
    def sizes(self) -> dict[str, int]:
        """What the service shows beside a problem's id."""
        return {"n_targets": self.n_targets, "n_units": self.n_units, "nnz": self.nnz}

    @cached_property
    def scale(self) -> FloatArray:
        """What each target's error is measured against: max(|value|, 0.001 sum_j |M_ij| d_j), or 1 below 1e-100."""
        scale = np.maximum(np.abs(self.targets), _SMALL_SHARE * self._made_of())
        return np.where(scale >= _SMALLEST_DIVISOR, scale, 1.0)

    def _made_of(self) -> FloatArray:
        """Give sum_j |M_ij| d_j."""
        sums, indptr = np.zeros(self.n_targets), self.matrix.indptr
        for begin, end in runs_of_rows(indptr):
            entries = slice(indptr[begin], indptr[end])
            data, indices = np.abs(self.matrix.data[entries]), self.matrix.indices[entries]
            shape, starts = (end - begin, self.n_units), indptr[begin : end + 1] - indptr[begin]
            sums[begin:end] = sp.csr_array((data, indices, starts), shape=shape) @ self.design_weights
        return sums

    @cached_property
    def findings(self) -> list[Finding]:
        """What is wrong or doubtful: mended input first, then the structural findings (linear in the nonzeros)."""
        return [*self.input_findings, *structural_findings(self)]

    def estimates(self, weights: FloatArray) -> FloatArray:
        """Give M w in float64, one number a target."""
        return np.asarray(self.matrix @ weights, dtype=np.float64)

    def relative_errors(self, estimates: FloatArray) -> FloatArray:
        """Give (estimate - value) / scale, the meaning of `relative_error` everywhere."""
        return (estimates - self.targets) / self.scale

    @cached_property
    def content(self) -> Content:
        """The problem as named arrays and values, defaults filled in."""
        named: dict[str, NDArray[Any] | None] = {
            "indptr": self.matrix.indptr,
            "indices": self.matrix.indices,
            "data": self.matrix.data,
            "targets": self.targets,
            "initial_weights": self.design_weights,
            "target_weights": self.target_weights,
            "holdout": self.holdout.astype(np.int64),
            "target_groups": self.groups,
            "target_scales": self.scales,
            "target_tolerances": self.tolerances,
            "lower_bounds": self.lower_bounds,
            "upper_bounds": self.upper_bounds,
            "protected_units": self.protected_units if self.protected_units.size else None,
        }
        given = {name: array for name, array in named.items() if array is not None}
        return Content(
            kind=KIND_NAME,
            arrays=given,
            values={"n_units": self.n_units, "target_names": list(self.names)},
            notes=[finding.model_dump() for finding in self.input_findings],
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, trusting it: it was validated when it was built."""
        content = Content.load(path)
        held, names = content.arrays, tuple(content.values["target_names"])
        shape = (len(names), content.values["n_units"])
        return cls(
            matrix=sp.csr_array((held["data"], held["indices"], held["indptr"]), shape=shape),
            targets=held["targets"],
            design_weights=held["initial_weights"],
            names=names,
            target_weights=held["target_weights"],
            holdout=held["holdout"].astype(np.bool_),
            groups=held.get("target_groups"),
            scales=held.get("target_scales"),
            tolerances=held.get("target_tolerances"),
            lower_bounds=held.get("lower_bounds"),
            upper_bounds=held.get("upper_bounds"),
            protected_units=held.get("protected_units", np.zeros(0, dtype=np.int64)),
            input_findings=tuple(Finding.model_validate(note) for note in content.notes),
        )


def _design_weights(values: ArrayLike | None, n: int) -> FloatArray:
    if values is None:
        return np.ones(n)
    weights = arrays.vector(
        values,
        name="initial_weights",
        axis=Axis(length=n, noun="columns of the matrix"),
        rule=lambda w: w >= 0,
        need="must be 0 or more",
    )
    if not weights.any():
        raise InvalidInput("initial_weights are all 0; at least one unit needs a weight", pointer="/initial_weights")
    return weights


def _positive(values: ArrayLike, name: str, per_target: Axis) -> FloatArray:
    return arrays.vector(values, name=name, axis=per_target, rule=lambda v: v >= _SMALLEST_DIVISOR, need=_NEED_POSITIVE)


def _optional_positive(values: ArrayLike | None, name: str, per_target: Axis) -> FloatArray | None:
    return None if values is None else _positive(values, name, per_target)


def _optional_groups(values: ArrayLike | None, per_target: Axis) -> NDArray[np.int64] | None:
    return None if values is None else arrays.integers(values, name="target_groups", axis=per_target)


def _holdout(values: ArrayLike | None, per_target: Axis) -> NDArray[np.bool_]:
    if values is None:
        return np.zeros(per_target.length, dtype=np.bool_)
    held = arrays.booleans(values, name="holdout", axis=per_target)
    if held.all():
        raise InvalidInput("holdout leaves out every target; at least one must stay in the fit", pointer="/holdout")
    return held
