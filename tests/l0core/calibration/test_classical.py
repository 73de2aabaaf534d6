"""Classical calibration beside closed forms, planted answers, and what R's survey and sampling packages answered.

The record is made by `golden/classical_calibration.R`; it says which versions, which calls and whose data.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root
from scipy.special import expit

from l0core.arrays import FloatArray
from l0core.calibration.classical import calibrate_weights
from l0core.errors import InfeasibleTargets

Distance = Literal["linear", "raking", "logit"]

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "classical_calibration.json").read_text(encoding="utf-8"))
ANSWERS = [(name, answer["program"]) for name, case in RECORD["cases"].items() for answer in case["answers"]]
PRINTED = [(name, number) for name, case in RECORD["cases"].items() for number in range(len(case["published"]))]
WITHIN = 1e-6  # of the ratio of calibrated to design weight
seeds = st.integers(0, 2**31)
laws = settings(max_examples=40, deadline=None)


@dataclass(frozen=True, kw_only=True)
class _Case:
    matrix: FloatArray
    targets: FloatArray
    design: FloatArray
    distance: Distance
    lower: float | None = None
    upper: float = np.inf

    def ratios(self) -> FloatArray:
        """Give our ratios of calibrated to design weight."""
        return self.weights() / self.design

    def weights(self) -> FloatArray:
        return calibrate_weights(
            sp.csr_array(self.matrix),
            self.targets,
            self.design,
            distance=self.distance,
            lower_ratio=self.lower,
            upper_ratio=self.upper,
        )


@cache
def _recorded(name: str) -> _Case:
    case = RECORD["cases"][name]
    data = RECORD["data"][case["data"]]
    return _Case(
        matrix=np.array([data["columns"][row] for row in case["rows"]], dtype=float),
        targets=np.array(case["targets"], dtype=float),
        design=np.array(data["design_weights"], dtype=float),
        distance=case["distance"],
        lower=case["lower_ratio"],
        upper=np.inf if case["upper_ratio"] is None else case["upper_ratio"],
    )


def _statistic(name: str, what: str) -> FloatArray:
    case = _recorded(name)
    if what == "g":
        return case.ratios()
    if what == "smallest and largest g":
        return np.array([case.ratios().min(), case.ratios().max()])
    columns = RECORD["data"][RECORD["cases"][name]["data"]]["columns"]
    return np.array([case.weights() @ np.array(columns[what.removeprefix("weighted total of ")])])


@pytest.mark.parametrize(("name", "program"), ANSWERS)
def test_the_weights_agree_with_r_s_to_a_millionth_of_the_design_weight(name: str, program: str) -> None:
    theirs = next(answer["g"] for answer in RECORD["cases"][name]["answers"] if answer["program"] == program)
    np.testing.assert_allclose(_recorded(name).ratios(), theirs, rtol=0, atol=WITHIN)


@pytest.mark.parametrize(("name", "number"), PRINTED)
def test_published_results_come_out_to_the_last_printed_digit(name: str, number: int) -> None:
    published = RECORD["cases"][name]["published"][number]
    for ours, theirs in zip(_statistic(name, published["what"]), published["values"], strict=True):
        assert round(float(ours), published["decimals"]) == theirs, published["where"]


GIVEN_UP = [name for name, case in RECORD["cases"].items() if case["gives_up"]]


@pytest.mark.parametrize("name", GIVEN_UP)
def test_totals_that_can_be_met_are_met_within_the_bounds_where_r_stops_without_an_answer(name: str) -> None:
    case = _recorded(name)
    np.testing.assert_allclose(case.matrix @ case.weights(), case.targets, rtol=1e-9)
    assert case.lower is not None
    assert np.all(case.weights() >= case.lower * case.design)
    assert np.all(case.weights() <= case.upper * case.design)


def test_the_record_covers_every_distance_with_and_without_bounds() -> None:
    covered = {(case["distance"], case["upper_ratio"] is not None) for case in RECORD["cases"].values()}
    assert covered == {("linear", False), ("linear", True), ("raking", False), ("raking", True), ("logit", True)}


def _sample(seed: int) -> tuple[FloatArray, FloatArray]:
    """Give 1 to 6 auxiliary variables of 40 to 80 units, for even seeds a constant first, and unequal design weights.

    A constant hides where F is 1: its multiplier shifts u. So half the problems have none.
    """
    rng = np.random.default_rng(seed)
    q, n = rng.integers(1, 6), rng.integers(40, 81)
    others = np.where(rng.random((q, n)) < 0.5, rng.random((q, n)) < 0.4, rng.lognormal(0, 0.5, (q, n)))
    matrix = others if seed % 2 else np.vstack([np.ones(n), others])
    return matrix, rng.uniform(20, 300, n)


def _greg(matrix: FloatArray, targets: FloatArray, design: FloatArray) -> FloatArray:
    """Give w = d (1 + x' (X D X')^-1 (t - X d)): Deville and Sarndal (1992), equation 1.3 with q = 1."""
    slope = np.linalg.solve(matrix * design @ matrix.T, targets - matrix @ design)
    return np.asarray(design * (1 + slope @ matrix))


@given(seeds)
@laws
def test_linear_calibration_is_the_regression_estimator_where_its_weights_are_not_negative(seed: int) -> None:
    matrix, design = _sample(seed)
    rng = np.random.default_rng(seed)
    start, away, step = matrix @ design, matrix @ (design * rng.uniform(0, 2, design.size)), 1.0
    while _greg(matrix, targets := start + step * (away - start), design).min() < 0:
        step /= 2
    case = _Case(matrix=matrix, targets=targets, design=design, distance="linear", lower=0.0)
    np.testing.assert_allclose(case.ratios(), _greg(matrix, targets, design) / design, rtol=0, atol=1e-8)


@given(seeds)
@laws
def test_without_a_lower_bound_it_is_the_regression_estimator_even_where_a_weight_is_negative(seed: int) -> None:
    matrix, design = _sample(seed)
    targets = matrix @ (design * np.random.default_rng(seed).lognormal(0, 2, design.size))
    case = _Case(matrix=matrix, targets=targets, design=design, distance="linear")
    expected = _greg(matrix, targets, design) / design
    np.testing.assert_allclose(case.ratios(), expected, rtol=1e-8, atol=1e-8)


def _cells(seed: int, n: int = 60) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the indicators of 3 regions and of 4 ages, nobody's cell empty, and unequal design weights."""
    rng = np.random.default_rng(seed)
    region = np.concatenate([np.repeat([0, 1, 2], 4), rng.integers(0, 3, n - 12)])
    age = np.concatenate([np.tile([0, 1, 2, 3], 3), rng.integers(0, 4, n - 12)])
    return np.eye(3)[region].T, np.eye(4)[age].T, rng.uniform(20, 300, n)


@pytest.mark.parametrize("distance", ["linear", "raking", "logit"])
@given(seed=seeds)
@laws
def test_one_margin_is_post_stratification_whatever_the_distance(distance: Distance, seed: int) -> None:
    regions, ages, design = _cells(seed)
    cells = (regions[:, None] * ages[None]).reshape(12, -1)
    factors = np.random.default_rng(seed).uniform(0.4, 1.8, 12)
    case = _Case(
        matrix=cells, targets=factors * (cells @ design), design=design, distance=distance, lower=0.3, upper=2.0
    )
    np.testing.assert_allclose(case.ratios(), factors @ cells, rtol=0, atol=1e-8)


def _fitted_in_turn(margins: list[tuple[FloatArray, FloatArray]], design: FloatArray) -> FloatArray:
    """Give the weights after iterative proportional fitting: each margin scaled to its totals until none moves."""
    weights, before = design, np.zeros_like(design)
    while np.abs(weights - before).max() > 1e-14 * weights.max():
        before = weights
        for indicators, totals in margins:
            weights = weights * ((totals / (indicators @ weights)) @ indicators)
    return weights


@given(seeds)
@laws
def test_raking_two_margins_is_iterative_proportional_fitting(seed: int) -> None:
    regions, ages, design = _cells(seed)
    reached = design * np.random.default_rng(seed).uniform(0.3, 3, design.size)
    margins = [(part, part @ reached) for part in (regions, ages)]
    case = _Case(
        matrix=np.vstack([regions, ages]),  # of rank 6, not 7: both margins sum to all
        targets=np.concatenate([totals for _, totals in margins]),
        design=design,
        distance="raking",
        lower=0.0,
    )
    np.testing.assert_allclose(case.ratios(), _fitted_in_turn(margins, design) / design, rtol=1e-8, atol=1e-8)


def _logit(u: FloatArray, lower: float, upper: float) -> FloatArray:
    """Give F(u) = (L (U - 1) + U (1 - L) e^(A u)) / (U - 1 + (1 - L) e^(A u)), A = (U - L) / ((1 - L) (U - 1))."""
    slope = (upper - lower) / ((1 - lower) * (upper - 1))
    return np.asarray(lower + (upper - lower) * expit(slope * u + np.log((1 - lower) / (upper - 1))))


@given(seeds)
@laws
def test_logit_calibration_solves_the_equations_a_root_finder_solves(seed: int) -> None:
    matrix, design = _sample(seed)
    scale = np.diag(1 / (matrix @ design))
    targets = matrix @ (design * np.random.default_rng(seed).uniform(0.8, 1.4, design.size))

    def misfit(multipliers: FloatArray) -> FloatArray:
        return np.asarray(scale @ (matrix @ (design * _logit(multipliers @ matrix, 0.5, 2.0)) - targets))

    multipliers = root(misfit, np.zeros(len(matrix)), tol=1e-13).x
    assert np.abs(misfit(multipliers)).max() < 1e-11
    expected = _logit(multipliers @ matrix, 0.5, 2.0)
    case = _Case(matrix=matrix, targets=targets, design=design, distance="logit", lower=0.5, upper=2.0)
    np.testing.assert_allclose(case.ratios(), expected, rtol=0, atol=1e-7)


def _planted(seed: int, distance: Distance, lower: float, upper: float) -> tuple[_Case, FloatArray]:
    """Give a problem and its one answer: ratios F(x' multipliers) are optimal for the totals that they reach.

    The distance is strictly convex, so multipliers that turn the totals into an optimum leave room for no other.
    """
    matrix, design = _sample(seed)
    multipliers = np.random.default_rng(seed).normal(0, 0.4, len(matrix)) / np.abs(matrix).max(axis=1)
    u = multipliers @ matrix
    u = u if seed % 2 else u - u.mean()  # the constant's multiplier
    ratios = {"linear": 1 + u, "raking": np.exp(u), "logit": _logit(u, lower, min(upper, 1e6))}[distance]
    ratios = np.clip(ratios, lower, upper)
    targets = matrix @ (design * ratios)
    case = _Case(matrix=matrix, targets=targets, design=design, distance=distance, lower=lower, upper=upper)
    return case, ratios


BOUNDED: list[Any] = [
    ("linear", 0.0, np.inf),
    ("linear", 0.8, 1.25),
    ("raking", 0.0, np.inf),
    ("raking", 0.8, 1.25),
    ("logit", 0.5, 2.0),
    ("logit", 0.0, 4.0),
]


@pytest.mark.parametrize(("distance", "lower", "upper"), BOUNDED)
@given(seed=seeds)
@laws
def test_weights_planted_as_the_optimum_are_found(distance: Distance, lower: float, upper: float, seed: int) -> None:
    case, planted = _planted(seed, distance, lower, upper)
    np.testing.assert_allclose(case.ratios(), planted, rtol=0, atol=WITHIN)


@pytest.mark.parametrize(("distance", "lower", "upper"), BOUNDED)
@given(seed=seeds)
@laws
def test_the_bounds_hold_to_the_last_bit(distance: Distance, lower: float, upper: float, seed: int) -> None:
    case, _ = _planted(seed, distance, lower, upper)
    weights = case.weights()
    assert np.all(weights >= lower * case.design)
    assert np.all(weights <= upper * case.design)


@pytest.mark.parametrize(("distance", "lower", "upper"), BOUNDED)
@given(seed=seeds)
@laws
def test_a_target_s_unit_and_a_repeated_target_change_nothing(
    distance: Distance, lower: float, upper: float, seed: int
) -> None:
    case, planted = _planted(seed, distance, lower, upper)
    units = 10.0 ** np.random.default_rng(seed).uniform(-4, 4, case.targets.size + 1)
    again = _Case(
        matrix=units[:, None] * np.vstack([case.matrix, case.matrix[:1]]),
        targets=units * np.append(case.targets, case.targets[0]),
        design=case.design,
        distance=distance,
        lower=lower,
        upper=upper,
    )
    np.testing.assert_allclose(again.ratios(), planted, rtol=0, atol=WITHIN)


@pytest.mark.parametrize("distance", ["linear", "raking", "logit"])
def test_totals_that_the_design_weights_meet_leave_them_as_they_are(distance: Distance) -> None:
    matrix, design = _sample(7)
    case = _Case(matrix=matrix, targets=matrix @ design, design=design, distance=distance, lower=0.5, upper=2.0)
    np.testing.assert_allclose(case.ratios(), 1.0, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("distance", "lower", "upper"), BOUNDED)
def test_a_total_outside_the_bounds_is_refused(distance: Distance, lower: float, upper: float) -> None:
    matrix, design = _sample(3)
    for factor in (-1.0, 0.9 * lower, 1.1 * upper):
        if 0 < abs(factor) < np.inf:
            targets = matrix @ design * np.where(np.arange(len(matrix)) == 0, factor, 1.0)
            case = _Case(matrix=matrix, targets=targets, design=design, distance=distance, lower=lower, upper=upper)
            with pytest.raises(InfeasibleTargets):
                case.weights()


@pytest.mark.parametrize(("distance", "lower", "upper"), [("linear", None, np.inf), *BOUNDED])
def test_two_totals_of_one_variable_are_refused(distance: Distance, lower: float | None, upper: float) -> None:
    matrix, design = _sample(3)
    targets = np.append(matrix @ design, 1.01 * design.sum())
    matrix = np.vstack([matrix, matrix[0]])
    case = _Case(matrix=matrix, targets=targets, design=design, distance=distance, lower=lower, upper=upper)
    with pytest.raises(InfeasibleTargets):
        case.weights()


def test_totals_that_only_together_are_out_of_reach_are_refused() -> None:
    """Each total alone is within the bounds; their mean, 0.99 of the largest x, would need every weight on one unit."""
    x = np.linspace(0, 1, 50)
    case = _Case(
        matrix=np.vstack([np.ones(50), x]),
        targets=np.array([50.0, 49.5]),
        design=np.ones(50),
        distance="linear",
        lower=0.0,
        upper=3.0,
    )
    with pytest.raises(InfeasibleTargets):
        case.weights()
