"""Proofs of infeasibility: what each number of one means, and that a linear program agrees."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from l0core.arrays import FloatArray
from l0core.calibration import certificates
from l0core.calibration.certificates import Box, certificate, proof, shortened


def _box(rows: list[list[float]], goal: list[float], *, lower: float = 0.0, upper: float = np.inf) -> Box:
    n_units = len(rows[0])
    return Box(
        matrix=sp.csr_array(np.array(rows)),
        goal=np.array(goal),
        lower=np.full(n_units, lower),
        upper=np.full(n_units, upper),
        tolerance=np.abs(goal),
    )


def test_a_unit_without_an_upper_bound_and_a_positive_slope_disproves_every_limit() -> None:
    box = _box([[1.0, 1.0], [2.0, 5.0]], [10.0, 60.0])
    assert proof(box, np.array([-5.0, 1.0])) == (0.0, 10.0)
    assert proof(box, np.array([-4.0, 1.0])) == (np.inf, 20.0)


def test_bounds_are_reached_by_the_slope_s_sign() -> None:
    box = _box([[1.0, -1.0]], [10.0], lower=2.0, upper=3.0)
    assert proof(box, np.array([1.0])) == (3.0 - 2.0, 10.0)
    assert proof(box, np.array([-2.0])) == (-4.0 + 6.0, -20.0)


def test_a_slope_that_rounding_left_is_none() -> None:
    box = _box([[0.1, 1.0], [0.3, 5.0]], [10.0, 60.0])
    assert proof(box, np.array([-3.0, 1.0]))[0] == np.inf  # the second unit's slope is 2
    assert proof(_box([[0.1], [0.3]], [1.0, 4.0]), np.array([-3.0, 1.0])) == (0.0, 1.0)  # 0.3 - 3 x 0.1 is 5.6e-17


def test_the_gap_is_the_smallest_share_by_which_the_goals_must_move() -> None:
    """10 people who bring 5 each at most make 50, not 60; 10.91 people and 54.5, 9.1 % off both, is the nearest."""
    found = certificate(_box([[1.0, 1.0], [2.0, 5.0]], [10.0, 60.0]), np.arange(2))
    assert found is not None
    assert found.gap == pytest.approx(10 / 110)
    assert found.multipliers[1] / found.multipliers[0] == pytest.approx(-1 / 5)


def test_goals_that_can_be_met_have_no_certificate() -> None:
    assert certificate(_box([[1.0, 1.0], [2.0, 5.0]], [10.0, 50.0]), np.arange(2)) is None
    assert certificate(_box([[1.0, 1.0], [2.0, 5.0]], [10.0, 35.0]), np.arange(2)) is None


def test_rows_that_prove_nothing_are_left_out() -> None:
    rows = [[1.0, 1.0, 0.0], [2.0, 5.0, 1.0], [2.0, 5.0, 0.0], [0.0, 0.0, 1.0]]
    box = _box(rows, [10.0, 60.0, 60.0, 3.0])
    found = certificate(box, np.arange(4))
    assert found is not None
    short = shortened(box, found)
    assert short.rows.tolist() == [0, 2]
    assert short.gap >= found.gap / 2


def _deviation(box: Box, dense: FloatArray) -> float:
    """Give the smallest t with |A w - b| <= t tolerance, by one plain linear program."""
    t = -box.tolerance[:, None]
    solved = linprog(
        [0.0] * dense.shape[1] + [1.0],
        A_ub=np.block([[dense, t], [-dense, t]]),
        b_ub=np.concatenate([box.goal, -box.goal]),
        bounds=[*zip(box.lower.tolist(), box.upper.tolist(), strict=True), (0.0, None)],
    )
    assert solved.fun is not None
    return float(solved.fun)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_the_gap_is_that_of_a_plain_linear_program_however_few_columns_it_starts_from(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(0.5, 1, (5, 20)) * (rng.random((5, 20)) < 0.5)
    dense[:, 0] = 1.0
    lower = np.where(rng.random(20) < 0.3, rng.random(20), 0.0)
    box = Box(
        matrix=sp.csr_array(dense),
        goal=rng.normal(2, 4, 5),
        lower=lower,
        upper=np.where(rng.random(20) < 0.5, lower + rng.random(20), np.inf),
        tolerance=rng.uniform(0.5, 2, 5),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "_FIRST_COLUMNS", 2)
        patch.setattr(certificates, "_MORE_COLUMNS", 1)
        found = certificate(box, np.arange(5))
    expected = _deviation(box, dense)
    assert (found.gap if found else 0.0) == pytest.approx(expected, abs=1e-5)
    if found:
        multipliers = np.zeros(5)
        multipliers[found.rows] = found.multipliers
        limit, needed = proof(box, multipliers)
        assert limit == pytest.approx(found.limit, abs=1e-9)
        assert needed > limit
