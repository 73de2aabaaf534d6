"""What is asked for: meanings that fit together, and everything else refused by name."""

import pytest
from pydantic import ValidationError

from l0core.sampling.options import SamplingHyperparameters


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "count"),
        ({"count": 0}, "count"),
        ({"count": 2.5}, "count"),
        ({"count": True}, "count"),
        ({"count": 5, "mode": "both"}, "mode"),
        ({"count": 5, "random_fraction": 0.5}, "random_fraction"),
        ({"count": 5, "mode": "hybrid", "random_fraction": 1.0}, "random_fraction"),
        ({"count": 5, "mode": "hybrid", "random_fraction": 0.01}, "0 units by chance"),
        ({"count": 1, "mode": "hybrid"}, "each part has one"),
        ({"count": 5, "task": "classification"}, "task has no part in mode 'samples'"),
        ({"count": 5, "mode": "features", "lambda_l0": 0.1}, "lambda_l0"),
        ({"count": 5, "mode": "features", "learning_rate": 0.3}, "learning_rate"),
        ({"count": 5, "mode": "features", "moments": 2}, "moments"),
        ({"count": 5, "mode": "features", "coverage": 10}, "coverage"),
        ({"count": 5, "moments": 3}, "moments"),
        ({"count": 5, "lambda_l0": -1.0}, "lambda_l0"),
        ({"count": 5, "learning_rate": 0.0}, "learning_rate"),
        ({"count": 5, "epochs": 10**12}, "epochs"),
        ({"count": 5, "comparisons": -1}, "comparisons"),
        ({"count": 5, "coverage": -1}, "coverage"),
        ({"count": 5, "budget": 5}, "budget"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SamplingHyperparameters.model_validate(given)
    assert named in str(refused.value)


@pytest.mark.parametrize("mode", ["samples", "features", "hybrid"])
def test_hyperparameters_that_were_kept_are_taken_again(mode: str) -> None:
    given = SamplingHyperparameters.model_validate({"mode": mode, "count": 10})
    assert SamplingHyperparameters.model_validate(given.model_dump()) == given


@pytest.mark.parametrize(("fraction", "by_chance"), [(None, 5), (0.25, 2), (0.1, 1), (0.9, 9)])
def test_the_random_part_is_rounded_to_whole_units(fraction: float | None, by_chance: int) -> None:
    assert SamplingHyperparameters(mode="hybrid", count=10, random_fraction=fraction).n_random == by_chance


def test_without_a_random_part_nobody_is_drawn() -> None:
    assert SamplingHyperparameters(count=10).n_random == 0
