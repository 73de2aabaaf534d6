"""How good a set of weights is, computed here with a pencil."""

import numpy as np
import pytest

from l0core.calibration.diagnostics import summarise, target_fit
from l0core.calibration.problem import CalibrationProblem
from tests.problems import by_hand

WEIGHTS = np.array([1.0, 2.0, 0.0, 1.0])  # people 4 of 5, income 8 of 10 (held out), children 1 of 2


def test_every_target_has_one_row_with_the_numbers_of_the_http_surface() -> None:
    rows = list(target_fit(by_hand(), WEIGHTS).rows())
    assert rows[0] == {
        "index": 0,
        "name": "people",
        "value": 5.0,
        "initial_estimate": 6.0,
        "estimate": 4.0,
        "relative_error": pytest.approx(-0.2),
        "abs_relative_error": pytest.approx(0.2),
        "group": 1,
        "holdout": False,
        "price": None,
    }
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert [row["name"] for row in rows] == ["people", "income", "children"]
    assert [row["holdout"] for row in rows] == [False, True, False]
    assert [row["relative_error"] for row in rows] == pytest.approx([-0.2, -0.2, -0.5])


def test_a_price_is_given_where_there_is_one() -> None:
    rows = target_fit(by_hand(), WEIGHTS).rows(np.array([0.25, np.nan, -3.0]))
    assert [row["price"] for row in rows] == [0.25, None, -3.0]


def test_a_target_without_a_group_has_none() -> None:
    problem = CalibrationProblem.build([[1.0]], [1.0])
    assert next(target_fit(problem, np.ones(1)).rows())["group"] is None


def test_the_summary_is_what_one_computes_by_hand() -> None:
    summary = summarise(target_fit(by_hand(), WEIGHTS), WEIGHTS)
    held_out, quantiles = summary.pop("holdout"), summary.pop("g_weight_quantiles")
    assert (quantiles["min"], quantiles["p50"], quantiles["max"]) == (1 / 3, 1.0, 1.0)
    assert summary == pytest.approx(
        {
            "n_targets": 2,
            "mean_abs_relative_error": 0.35,
            "median_abs_relative_error": 0.35,
            "max_abs_relative_error": 0.5,
            "within_1_percent": 0,
            "within_5_percent": 0,
            "within_10_percent": 0,
            "within_tolerance": 1,  # 0.5 <= 0.6, and 0.2 > 0.1
            "initial_mean_abs_relative_error": 0.35,  # people 6 of 5, children 3 of 2
            "initial_median_abs_relative_error": 0.35,
            "initial_max_abs_relative_error": 0.5,
            "initial_within_1_percent": 0,
            "initial_within_5_percent": 0,
            "initial_within_10_percent": 0,
            "n_units": 4,
            "n_active": 3,
            "effective_sample_size": 16 / 6,
            "design_effect": 18 / 16,
            "top_1_percent_share": 0.5,
            "max_weight": 2.0,
            "max_g_weight": 1.0,
            "weights_total": 4.0,
            "initial_weights_total": 7.0,
        }
    )
    assert held_out == pytest.approx(
        {
            "n_targets": 1,
            "mean_abs_relative_error": 0.2,
            "median_abs_relative_error": 0.2,
            "max_abs_relative_error": 0.2,
            "within_1_percent": 0,
            "within_5_percent": 0,
            "within_10_percent": 0,
            "within_tolerance": 0,
            "initial_mean_abs_relative_error": 0.2,
            "initial_median_abs_relative_error": 0.2,
            "initial_max_abs_relative_error": 0.2,
            "initial_within_1_percent": 0,
            "initial_within_5_percent": 0,
            "initial_within_10_percent": 0,
        }
    )


def test_errors_are_counted_within_one_five_and_ten_percent_inclusive() -> None:
    weights = np.array([100.0, 99.0, 103.0, 95.0, 92.0, 80.0])
    before = np.array([101.0, 96.0, 120.0, 130.0, 89.0, 105.0])
    problem = CalibrationProblem.build(np.eye(6), [100.0] * 6, initial_weights=before, target_tolerances=[0.02] * 6)
    summary = summarise(target_fit(problem, weights), weights)
    assert [summary[f"within_{p}_percent"] for p in (1, 5, 10)] == [2, 4, 5]
    assert [summary[f"initial_within_{p}_percent"] for p in (1, 5, 10)] == [1, 3, 3]
    assert summary["within_tolerance"] == 2


def test_without_tolerances_or_held_out_targets_there_is_nothing_to_say_of_them() -> None:
    problem = CalibrationProblem.build([[1.0]], [1.0])
    summary = summarise(target_fit(problem, np.ones(1)), np.ones(1))
    assert summary["within_tolerance"] is None
    assert "holdout" not in summary


def test_weights_of_nothing_but_zeros_have_a_summary() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0]], [1.0])
    summary = summarise(target_fit(problem, np.zeros(2)), np.zeros(2))
    assert (summary["n_active"], summary["effective_sample_size"], summary["max_g_weight"]) == (0, 0.0, 0.0)
    assert (summary["design_effect"], summary["top_1_percent_share"]) == (None, None)
