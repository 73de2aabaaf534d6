"""What the loss is made of: the parts sum to the loss, whatever is listed and whatever is left out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from l0core.arrays import FloatArray
from l0core.calibration.attribution import attribution, largest, largest_groups, loss_parts, loss_shares
from l0core.calibration.breakdown import breakdown
from l0core.calibration.diagnostics import target_fit
from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from tests.problems import by_hand

PARTS = npst.arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-9, 1e9) | st.just(0.0))
WEIGHTS = np.array([1.0, 2.0, 0.0, 1.0])  # people 4 of 5, income 8 of 10 (held out), children 1 of 2


def _parts(**options: Any) -> tuple[FloatArray, float, list[bool] | None]:
    problem = by_hand()
    objective = prepare(problem, CalibrationHyperparameters(**options))
    found = loss_parts(objective, WEIGHTS[objective.units], problem.n_targets)
    return found.parts, found.omega_total, None if found.past_cap is None else found.past_cap.tolist()


def test_the_parts_are_those_of_a_pencil_and_a_held_out_target_has_none() -> None:
    parts, omega_total, past_cap = _parts()  # errors -1/10 and -1/4 of the scales, weights 1 and 4, groups of one
    assert parts == pytest.approx([0.01, 0.0, 0.25])
    assert (omega_total, past_cap) == (5.0, None)


def test_past_the_cap_a_target_adds_the_cap_and_is_named() -> None:
    parts, _, past_cap = _parts(loss="absolute_relative", loss_cap=0.2)
    assert parts == pytest.approx([0.1, 0.0, 4 * 0.2])
    assert past_cap == [False, False, True]


def test_an_error_as_large_as_the_cap_is_not_past_it() -> None:
    assert _parts(loss="absolute_relative", loss_cap=0.25)[2] == [False, False, False]


@given(parts=PARTS, most=st.integers(0, 70))
def test_what_is_listed_and_the_others_sum_to_the_loss(parts: FloatArray, most: int) -> None:
    found = attribution(parts, [{"index": i} for i in range(parts.size)], most=most)
    listed = [row["loss"] for row in found["targets"]]
    assert found["loss"] == math.fsum(parts)
    assert math.fsum([*listed, found["other_targets"]["loss"]]) == pytest.approx(found["loss"], rel=1e-12, abs=0)
    assert len(listed) + found["other_targets"]["n_targets"] == parts.size
    assert listed == sorted(parts.tolist(), reverse=True)[: len(listed)]
    assert all(row["loss"] == parts[row["index"]] for row in found["targets"])


@given(parts=PARTS)
def test_shares_sum_to_one_where_there_is_a_loss(parts: FloatArray) -> None:
    assert math.fsum(loss_shares(parts)) == pytest.approx(1.0 if parts.any() else 0.0, rel=1e-12, abs=0)


@given(
    parts=npst.arrays(np.float64, 24, elements=st.floats(1e-9, 1e9)),
    groups=npst.arrays(np.int64, 24, elements=st.integers(-2, 4)),
    most=st.integers(0, 8),
)
def test_groups_and_the_groups_left_out_sum_to_the_loss(parts: FloatArray, groups: FloatArray, most: int) -> None:
    fit = target_fit(CalibrationProblem.build(np.eye(24), np.ones(24)), np.ones(24))
    found = largest_groups(breakdown(fit, groups.tolist(), parts=parts), most=most)
    losses, others = [row["loss"] for row in found["groups"]], found["other_groups"]
    assert math.fsum([*losses, others["loss"]]) == pytest.approx(math.fsum(parts), rel=1e-12, abs=0)
    assert losses == sorted(losses, reverse=True)
    assert len(losses) + others["n_groups"] == len(set(groups.tolist()))
    assert sum(row["n_targets"] for row in found["groups"]) + others["n_targets"] == 24
    for row in found["groups"]:
        assert row["loss"] == pytest.approx(parts[groups == row["group"]].sum())
        assert row["loss_share"] == pytest.approx(row["loss"] / parts.sum())


def test_held_out_targets_of_a_group_stand_apart_and_a_group_of_them_alone_is_not_listed() -> None:
    problem = CalibrationProblem.build(np.eye(3), [1.0, 2.0, 4.0], holdout=[False, True, True])
    fit = target_fit(problem, np.array([1.0, 3.0, 4.0]))
    (group,) = largest_groups(breakdown(fit, [7, 7, 8], parts=np.array([0.5, 0.0, 0.0])), most=5)["groups"]
    assert (group["group"], group["n_targets"], group["loss"], group["loss_share"]) == (7, 1, 0.5, 1.0)
    assert group["holdout"]["max_abs_relative_error"] == 0.5
    assert "loss" not in group["holdout"]


def test_of_equal_values_the_first_comes_first_and_zeros_never() -> None:
    assert largest(np.array([0.0, 2.0, 3.0, 2.0, 0.0]), 5).tolist() == [2, 1, 3]
    assert largest(np.array([2.0, 2.0]), 1).tolist() == [0]
