"""The hyperparameters of a pruning: what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from l0core.pruning.options import PruningHyperparameters


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target_sparsity": 0.5, "lambda_l0": 1.0}, "exclude one another"),
        ({"target_sparsity": 0.5, "target_parameters": 10}, "exclude one another"),
        ({"temperature_start": 0.1, "temperature_end": 0.5}, "gates go from soft to sharp"),
        ({"structured": [1, 1]}, "names a layer twice"),
        ({"structured": [-1]}, "greater than or equal to 0"),
        ({"structured": "yes"}, "valid"),
        ({"target_sparsity": 1.0}, "less than 1"),
        ({"target_sparsity": -0.1}, "greater than or equal to 0"),
        ({"target_parameters": 0}, "greater than or equal to 1"),
        ({"lambda_l0": -1.0}, "greater than or equal to 0"),
        ({"lambda_l0": float("nan")}, "finite"),
        ({"learning_rate": 0.0}, "greater than 0"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": 10**12}, "less than or equal"),
        ({"batch_size": 2.5}, "valid integer"),
        ({"init_sparsity": 0.0}, "greater than 0"),
        ({"finetune_epochs": -1}, "greater than or equal to 0"),
        ({"momentum": 0.9}, "Extra inputs"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        PruningHyperparameters(**given)


def test_layers_may_be_named_one_by_one() -> None:
    assert PruningHyperparameters(structured=[0, 2]).structured == [0, 2]
    assert PruningHyperparameters.model_validate_json('{"structured": false}').structured is False
