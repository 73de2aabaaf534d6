"""The hyperparameters: what stands in none of the fields, or outside its range, is refused with a reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from l0core.calibration.options import BUDGET_MIN_WEIGHT_RATIO, CalibrationHyperparameters


def test_nothing_given_is_a_sound_set() -> None:
    options = CalibrationHyperparameters()
    assert (options.lambda_l0, options.lambda_share, options.record_budget) == (None, None, None)
    assert CalibrationHyperparameters.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    "given",
    [
        {"lambda_l0": 0.1, "lambda_share": 0.1},
        {"lambda_l0": 0.0, "record_budget": 5},
        {"lambda_share": 0.0, "record_budget": 5},
    ],
)
def test_two_controls_of_the_size_exclude_one_another_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{' and '.join(given)} exclude one another"):
        CalibrationHyperparameters(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"lambda_l0": -1e-9},
        {"lambda_share": -0.1},
        {"record_budget": 0},
        {"record_budget": 2.0},
        {"lambda_l2": -1.0},
        {"learning_rate": 0.0},
        {"learning_rate": 10.1},
        {"learning_rate": float("nan")},
        {"learning_rate": "0.1"},
        {"learning_rate_schedule": "linear"},
        {"epochs": 0},
        {"epochs": 10_000_001},
        {"epochs": True},
        {"loss": "mse"},
        {"beta": 0.0},
        {"gamma": 0.0},
        {"zeta": 1.0},
        {"init_keep_prob": 0.0},
        {"init_keep_prob": 1.0},
        {"log_weight_jitter_sd": -0.1},
        {"log_alpha_jitter_sd": float("inf")},
        {"normalize_groups": 1},
        {"group_multipliers": {"1": float("nan")}},
        {"group_multipliers": {1: 2.0}},
        {"refit": "yes"},
        {"max_weight_ratio": 0.0},
        {"min_weight_ratio": -0.1},
        {"zero_prior": "keep"},
        {"gradient": "exact"},
        {"selector": "greedy"},
        {"mass": "keep"},
        {"distance": "euclidean"},
        {"loss_cap": 0.0},
        {"lambda_0": 0.1},
        {"learning_rates": 0.1},
    ],
)
def test_a_setting_out_of_range_or_unknown_is_refused_where_it_stands(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        CalibrationHyperparameters(**given)
    assert {error["loc"][0] for error in caught.value.errors()} == set(given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"loss_cap": 2.0}, "loss_cap caps the loss absolute_relative, and loss is relative"),
        ({"selector": "matching_pursuit"}, "give record_budget"),
        ({"selector": "matching_pursuit", "record_budget": 5, "epochs": 9}, "epochs has no part in selector matching_"),
        ({"selector": "dense", "beta": 0.5}, "beta has no part in selector dense"),
        ({"distance": "raking"}, "distance belongs to selector dense"),
        ({"selector": "dense", "record_budget": 5}, "record_budget has no part in selector dense"),
        ({"mass": "conserve", "refit": False}, "mass 'conserve' is kept by the refit"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_rather_than_ignored(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        CalibrationHyperparameters(**given)


@pytest.mark.parametrize("name", ["max_weight_ratio", "min_weight_ratio"])
def test_bounds_without_a_refit_are_refused_rather_than_ignored(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} bounds the weights of the refit"):
        CalibrationHyperparameters.model_validate({name: 0.5, "refit": False})


def test_bounds_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"min_weight_ratio 2.0 is above max_weight_ratio 1.0"):
        CalibrationHyperparameters(min_weight_ratio=2.0, max_weight_ratio=1.0)
    with pytest.raises(ValidationError, match=r"min_weight_ratio 0.01 is above max_weight_ratio 0.001"):
        CalibrationHyperparameters(record_budget=3, max_weight_ratio=0.001)
    assert CalibrationHyperparameters(min_weight_ratio=1.0, max_weight_ratio=1.0).floor_ratio == 1.0


def test_a_lower_bound_of_zero_would_break_a_budget_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_weight_ratio 0 would let units of the record_budget fall to 0"):
        CalibrationHyperparameters(record_budget=3, min_weight_ratio=0.0)
    assert CalibrationHyperparameters(min_weight_ratio=0.0).floor_ratio == 0.0


def test_the_floor_is_above_zero_with_a_budget_and_zero_without() -> None:
    assert CalibrationHyperparameters().floor_ratio == 0.0
    assert CalibrationHyperparameters(record_budget=3).floor_ratio == BUDGET_MIN_WEIGHT_RATIO > 0
    assert CalibrationHyperparameters(record_budget=3, min_weight_ratio=0.5).floor_ratio == 0.5


def test_hyperparameters_cannot_be_changed_after_they_were_checked() -> None:
    with pytest.raises(ValidationError):
        CalibrationHyperparameters().epochs = 0  # type: ignore[misc]  # the fault under test
