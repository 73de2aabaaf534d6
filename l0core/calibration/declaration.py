"""What the calibration kind declares of itself to API, terminal, worker and pages."""

from l0core.calibration.inputs import CalibrationInputs
from l0core.calibration.options import CalibrationHyperparameters
from l0core.kind import Example, Kind

_MATRIX = {"coo": {"shape": [2, 3], "row": [0, 0, 1], "col": [0, 1, 2], "data": [1.0, 2.0, 3.0]}}

KIND = Kind(
    name="calibration",
    summary="Household weights that reproduce published totals, with as few households as possible.",
    hyperparameters=CalibrationHyperparameters,
    inputs=CalibrationInputs,
    problem="l0core.calibration.problem:CalibrationProblem",
    run="l0core.calibration.run:run",
    curves=(
        "loss",
        "data_loss",
        "l0_penalty",
        "l2_penalty",
        "active",
        "expected_l0",
        "mean_abs_relative_error",
        "median_abs_relative_error",
        "max_abs_relative_error",
        "lambda_l0",
        "temperature",
        "learning_rate",
        "epoch_seconds",
    ),
    artifacts={
        "calibration_weights.npy": "N float64 weights, zeros included",
        "calibration_log.csv": "every target at the epochs that were kept",
        "unified_diagnostics.csv": "every target at the end",
        "calibration_diagnostics.json": "the summary, what the loss is made of by target and group, and the findings",
        "run_config.json": "what was run: problem, hyperparameters, seed, versions",
        "report.html": "the result as one self-contained page",
        "checkpoint.safetensors": "the state of the selection at its end",
    },
    weights="calibration_weights.npy",
    partial="l0core.calibration.partial:weights_in",
    targets="l0core.calibration.stored_targets:stored_targets",
    summary_table="l0core.calibration.summary:summary_table",
    example=Example(
        summary="Two totals over three households, inline: for small matrices",
        problem={
            "matrix": _MATRIX,
            "targets": [10.0, 20.0],
            "target_names": ["people", "income"],
            "initial_weights": [1.5, 2.0, 4.0],
        },
        hyperparameters={"record_budget": 2, "epochs": 500},
        question={"matrix": _MATRIX},
    ),
)
