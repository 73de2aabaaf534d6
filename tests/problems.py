"""Named calibration problems whose answers are known, for every suite. Torch-free; each call gives a fresh problem."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.problem import CalibrationProblem


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A problem and weights that meet every one of its targets exactly."""

    problem: CalibrationProblem
    weights: FloatArray


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A problem with faults put into it on purpose: `named` are the targets meant, by code of finding."""

    problem: CalibrationProblem
    named: dict[str, set[str]]
    counted: dict[str, float]


def by_hand() -> CalibrationProblem:
    """Give three targets over four units with every optional field, small enough for a pencil.

    The estimates under the design weights (1, 2, 1, 3) are 6, 8 and 3; `income` is held out.
    """
    return CalibrationProblem.build(
        [[1.0, 1.0, 0.0, 1.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
        [5.0, 10.0, 2.0],
        initial_weights=[1.0, 2.0, 1.0, 3.0],
        target_names=["people", "income", "children"],
        target_groups=[1, 2, 2],
        target_weights=[1.0, 2.0, 4.0],
        target_scales=[10.0, 5.0, 4.0],
        target_tolerances=[0.1, 0.1, 0.6],
        holdout=[False, True, False],
    )


def solved(*, n_targets: int = 6, n_units: int = 60, seed: int = 0, density: float = 0.5) -> Solved:
    """Give a sparse random problem whose targets are the totals of known weights; every unit counts somewhere."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((n_targets, n_units)) * (rng.random((n_targets, n_units)) < density)
    matrix[rng.integers(n_targets, size=n_units), np.arange(n_units)] += 0.5
    design_weights = rng.uniform(0.5, 2.0, n_units)
    weights = design_weights * rng.uniform(0.5, 1.5, n_units)
    problem = CalibrationProblem.build(sp.csr_array(matrix), matrix @ weights, initial_weights=design_weights)
    return Solved(problem=problem, weights=weights)


def conflicting(*, n_units: int = 40, seed: int = 0) -> CalibrationProblem:
    """Give five targets, each twice, the second time 20 % higher: no weights meet them all."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((5, n_units))
    totals = matrix.sum(axis=1)
    return CalibrationProblem.build(np.vstack([matrix, matrix]), np.concatenate([totals, 1.2 * totals]))


def explosive() -> CalibrationProblem:
    """Give weights near 1e32 that have to grow a hundred millionfold: large steps take them out of float32 at once."""
    rng = np.random.default_rng(0)
    matrix, design = rng.random((5, 40)), rng.uniform(0.5, 1.5, 40)
    return CalibrationProblem.build(matrix * 1e-32, matrix @ design * 1e8, initial_weights=design * 1e32)


def planted_findings() -> Planted:
    """Give a problem with one or two of each structural finding, beside targets that have none."""
    problem = CalibrationProblem.build(
        [
            [1.0, 2.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],  # nobody, and a total of 7
            [0.0, 0.0, 0.0, 0.0, 0.0],  # nobody, and a total of 0: nothing wrong
            [0.0, 3.0, 1.0, 0.0, 0.0],  # all positive, and a total below 0
            [-1.0, 0.0, -2.0, 0.0, 0.0],  # all negative, and a total above 0
            [-1.0, 0.0, 2.0, 0.0, 0.0],  # of both signs, and a total below 0: nothing wrong
            [-1.0, 0.0, -3.0, 0.0, 0.0],  # all negative, and a total below 0: nothing wrong
            [0.0, 3.0, 2.0, 0.0, 0.0],  # all positive, and a total of 0: nothing wrong
            [2.0, 2.0, 1.0, 0.0, 0.0],  # 4,500 under the upper bound of 900, and a total of 5,000
            [1.0, 1.0, 1.0, 0.0, 0.0],
            [1.0, 1.0, 1.0, 0.0, 0.0],  # the one before again
            [1.0, 1.0, 1.0, 0.0, 0.0],  # and again, and another total
            [0.7, 0.7, 0.7, 0.0, 0.0],  # and again in another unit, and not 0.7 times the total
            [1.0, 0.0, 1.0, 0.0, 0.0],  # a total below the 1 that the lighter of its units brings
            [0.0, 0.0, 1.0, 0.0, 0.0],  # a total below the 2 that its only unit brings: nothing wrong
        ],
        [5.0, 7.0, 0.0, -3.0, 4.0, -1.0, -2.0, 0.0, 5000.0, 6.0, 6.0, 9.0, 4.0, 0.01, 1.5],
        initial_weights=[1.0, 0.0, 2.0, 1.0, 0.0],
        weight_bounds={"upper": 900.0},
        target_names=[
            "fine",
            "nobody",
            "nobody_zero",
            "negative",
            "positive",
            "mixed",
            "loss",
            "zero",
            "too_much",
            "all",
            "all_again",
            "all_otherwise",
            "all_in_another_unit",
            "tiny",
            "single",
        ],
    )
    return Planted(
        problem=problem,
        named={
            "no_support": {"nobody"},
            "wrong_sign": {"negative", "positive"},
            "out_of_reach": {"too_much"},
            "duplicate_targets": {"all_again"},
            "duplicate_targets_in_conflict": {"all_otherwise", "all_in_another_unit"},
            "degenerate_target": {"tiny"},
        },
        counted={"empty_columns": 2.0, "zero_design_weights": 2.0},
    )


def too_rich() -> Planted:
    """Give returns and incomes of two states; one state's average income is above that of its richest unit."""
    problem = CalibrationProblem.build(
        [
            [1.0, 1.0, 1.0, 0.0, 0.0],
            [1.1e6, 1.4e6, 1.7e6, 0.0, 0.0],
            [0.0, 0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, 1.2e6, 6.0e6],
        ],
        [40_000.0, 40_000.0 * 4.5e6, 900.0, 900.0 * 3.0e6],
        initial_weights=[9_000.0, 8_000.0, 7_000.0, 500.0, 400.0],
        target_names=["FL/returns", "FL/income", "ME/returns", "ME/income"],
    )
    return Planted(problem=problem, named={"ratio_conflict": {"FL/income"}}, counted={})


def arbitrary(seed: int, *, n_targets: int = 6, n_units: int = 12) -> CalibrationProblem:
    """Give a random problem in which every optional field may be there or not, and design weights may be 0."""
    rng = np.random.default_rng(seed)

    def perhaps(values: NDArray[np.generic]) -> NDArray[np.generic] | None:
        return values if rng.random() < 0.7 else None

    matrix = rng.normal(1, 1, (n_targets, n_units)) * (rng.random((n_targets, n_units)) < 0.6)
    matrix[:, 0] = 1.0  # one unit always counts
    design_weights = rng.uniform(0.5, 2.0, n_units) * (rng.random(n_units) < 0.8)
    design_weights[0] = 1.0
    holdout = rng.random(n_targets) < 0.3
    holdout[0] = False
    return CalibrationProblem.build(
        sp.csr_array(matrix),
        rng.normal(5, 3, n_targets) * (rng.random(n_targets) < 0.9),
        initial_weights=perhaps(design_weights),
        target_groups=perhaps(rng.integers(0, 3, n_targets)),
        target_weights=perhaps(rng.uniform(0.1, 10, n_targets)),
        target_scales=perhaps(rng.uniform(0.1, 10, n_targets)),
        target_tolerances=perhaps(rng.uniform(0.01, 1, n_targets)),
        holdout=perhaps(holdout),
    )
