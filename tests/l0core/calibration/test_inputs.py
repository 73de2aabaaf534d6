"""The body of a posted calibration problem."""

import pytest
from pydantic import ValidationError

from l0core.calibration.inputs import CalibrationInputs

MATRIX = '"matrix": {"coo": {"shape": [1, 2], "row": [0], "col": [1], "data": [2]}}'


def test_a_matrix_and_targets_are_enough() -> None:
    body = CalibrationInputs.model_validate_json(f'{{{MATRIX}, "targets": [1]}}')
    assert body.targets == [1.0]
    assert body.model_fields_set == {"matrix", "targets"}


@pytest.mark.parametrize(
    "body",
    [
        f"{{{MATRIX}}}",
        '{"targets": [1]}',
        f'{{{MATRIX}, "targets": [NaN]}}',
        f'{{{MATRIX}, "targets": [1e999]}}',
        f'{{{MATRIX}, "targets": ["1"]}}',
        f'{{{MATRIX}, "targets": [true]}}',
        f'{{{MATRIX}, "targets": null}}',
        f'{{{MATRIX}, "targets": [1], "target_names": [1]}}',
        f'{{{MATRIX}, "targets": [1], "target_groups": [0.5]}}',
        f'{{{MATRIX}, "targets": [1], "holdout": [1]}}',
        f'{{{MATRIX}, "targets": [1], "weights": [1]}}',
        f'{{{MATRIX}, "targets": [1], "weight_bounds": 7}}',
        f'{{{MATRIX}, "targets": [1], "weight_bounds": {{"max": 7}}}}',
        f'{{{MATRIX}, "targets": [1], "weight_bounds": {{"upper": true}}}}',
        f'{{{MATRIX}, "targets": [1], "protected_units": [0.5]}}',
    ],
)
def test_what_is_missing_unknown_or_of_another_type_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        CalibrationInputs.model_validate_json(body)
