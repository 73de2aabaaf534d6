"""The results of a sampling: what was chosen, how well it stands for the whole, and the files it is kept in."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration import diagnostics
from l0core.calibration.diagnostics import TargetFit
from l0core.checkpoint import Identity
from l0core.context import RunContext
from l0core.findings import Finding
from l0core.history import History
from l0core.kind import Artifact
from l0core.sampling import export
from l0core.sampling.chances import Sample
from l0core.sampling.comparing import Comparison
from l0core.sampling.explaining import Explained
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.representing import Representation, column_fit, representation, spreads

SELECTION = np.dtype([("index", "<i8"), ("type", "<U6"), ("inclusion_probability", "<f8"), ("weight", "<f8")])


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """Of modes `samples` and `hybrid`. `weights` are of all N units; those that were not chosen have exactly 0.

    `rows` is how many totals the fit reproduces, those of coverage and moments included, and `loss` their summed
    squared relative error. `findings` are those the run made, beside the problem's own.
    """

    problem: SamplingProblem
    options: SamplingHyperparameters
    identity: Identity
    sample: Sample
    weights: FloatArray
    loss: float
    rows: int
    history: History
    comparisons: tuple[Comparison, ...]
    checkpoint: Path | None
    findings: tuple[Finding, ...] = ()

    @cached_property
    def fit(self) -> TargetFit:
        """Every column before and after."""
        return column_fit(self.problem, self.weights)

    @cached_property
    def representation(self) -> Representation:
        """How well the sample stands for the whole."""
        return representation(self.problem, self.weights)

    @cached_property
    def selection(self) -> NDArray[np.void]:
        """The table of the chosen, in the order of the units."""
        sample = self.sample
        return table(sample.units, sample.types, sample.chance, self.weights[sample.units])

    @cached_property
    def horvitz_thompson_weights(self) -> FloatArray:
        """Design weight over inclusion probability of each of the chosen: unbiased before any fit."""
        return self.sample.expanded(self.problem.design_weights)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        numbers = diagnostics.summarise(self.fit, self.weights)
        return numbers | {
            "loss": self.loss,
            "epochs": self.history.steps[-1],
            "n_random": int(self.sample.random.sum()),
            "n_totals_in_the_fit": self.rows,
            "representation": self.representation.numbers,
            "comparisons": {each.name: against(self.representation, each) for each in self.comparisons},
        }

    @cached_property
    def all_findings(self) -> list[Finding]:
        """The findings of the problem, then those of the run; one that both made stands once."""
        return list(dict.fromkeys([*self.problem.findings, *self.findings]))

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a column."""
        return self.fit.rows()

    def column_rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a column, with its weighted standard deviation before and after."""
        before, after = spreads(self.problem, self.problem.design_weights), spreads(self.problem, self.weights)
        for row, was, now in zip(self.target_rows(), before, after, strict=True):
            yield row | {"initial_standard_deviation": float(was), "standard_deviation": float(now)}

    def write(self, folder: Path) -> list[Artifact]:
        """Write every artifact into `folder`."""
        return export.write_sample(self, folder)


@dataclass(frozen=True, kw_only=True)
class FeaturesResult:
    """Of mode `features`. `columns` are the chosen ones in order, `explained` what they explain of the outcome.

    `random` are the losses of random choices of as many columns, each fitted alike.
    """

    problem: SamplingProblem
    options: SamplingHyperparameters
    identity: Identity
    columns: NDArray[np.intp]
    explained: Explained
    history: History
    random: FloatArray
    checkpoint: Path | None

    @cached_property
    def selection(self) -> NDArray[np.void]:
        """The table of the chosen: `weight` is a column's coefficient (its length, where there are several)."""
        certain = np.ones(self.columns.size)
        return table(self.columns, np.full(self.columns.size, "l0"), certain, self.explained.strengths)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The result in numbers."""
        median = float(np.median(self.random)) if self.random.size else None
        return {
            "n_units": self.problem.n_units,
            "n_columns": self.problem.n_columns,
            "n_active": int(self.columns.size),
            "rounds": self.history.steps[-1],
            **self.explained.numbers,
            "random_columns_loss": median,
            "loss_over_random": None if not median else self.explained.loss / median,
        }

    @property
    def all_findings(self) -> list[Finding]:
        """The findings of the problem."""
        return self.problem.findings

    def target_rows(self) -> Iterator[dict[str, Any]]:
        """Give nothing: columns are chosen, and no total is reproduced."""
        return iter(())

    def column_rows(self) -> Iterator[dict[str, Any]]:
        """Give one row a chosen column: where it stands, its name and its coefficients."""
        for column, coefficients in zip(self.columns, self.explained.coefficients, strict=True):
            name = self.problem.names[column]
            yield {"index": int(column), "name": name, "coefficients": coefficients.tolist()}

    def write(self, folder: Path) -> list[Artifact]:
        """Write every artifact into `folder`."""
        return export.write_features(self, folder)


def table(
    units: NDArray[np.intp], types: NDArray[np.str_], chance: FloatArray, weights: FloatArray
) -> NDArray[np.void]:
    """Give the table of a selection."""
    rows = np.zeros(units.size, dtype=SELECTION)
    rows["index"], rows["type"], rows["inclusion_probability"], rows["weight"] = units, types, chance, weights
    return rows


def against(ours: Representation, comparison: Comparison) -> dict[str, Any]:
    """Give the medians over the draws, and our error over theirs (None where theirs is 0)."""
    medians = {name: comparison.median(name) for name in ours.numbers}
    theirs = medians["mean_abs_relative_error"]
    share = ours.everywhere / theirs if theirs else None
    return {"draws": len(comparison.draws), **medians, "error_over_median": share}


def last_checkpoint(context: RunContext) -> Path | None:
    """Give the last checkpoint that was written."""
    path = context.checkpoints.path if context.checkpoints else None
    return path if path is not None and path.exists() else None
