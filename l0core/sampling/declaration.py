"""What the sampling kind declares of itself to API, terminal, worker and pages."""

from l0core.kind import Example, Kind, Table
from l0core.sampling.inputs import SamplingInputs
from l0core.sampling.options import SamplingHyperparameters

KIND = Kind(
    name="sampling",
    summary="Exactly so many units that stand for the whole of a data set, or so many columns that explain an outcome.",
    hyperparameters=SamplingHyperparameters,
    inputs=SamplingInputs,
    problem="l0core.sampling.problem:SamplingProblem",
    run="l0core.sampling.run:run",
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
        "sampling_weights.npy": "N float64 weights, zeros included; not in mode features",
        "selection.npy": "the chosen: index, type, inclusion_probability, weight",
        "horvitz_thompson_weights.npy": "mode hybrid: design weight over inclusion probability of each of the chosen",
        "coefficients.npy": "mode features: coefficients of the chosen columns, one column a class but the first",
        "sampling_diagnostics.json": "the summary, every column before and after, the comparisons, and the findings",
        "run_config.json": "what was run: problem, hyperparameters, seed, versions",
        "report.html": "the result as one self-contained page",
        "checkpoint.safetensors": "the state of the selection at its end",
    },
    weights="sampling_weights.npy",
    partial="l0core.calibration.partial:weights_in",
    targets="l0core.calibration.stored_targets:stored_targets",
    tables={
        "selection": Table(
            artifact="selection.npy",
            columns={
                "index": "indices",
                "type": "types",
                "inclusion_probability": "inclusion_probabilities",
                "weight": "weights",
            },
        )
    },
    example=Example(
        summary="Four of six units that stand for all: their weighted totals of two columns are those of the whole",
        problem={
            "features": {
                "coo": {
                    "shape": [6, 2],
                    "row": [0, 1, 1, 2, 3, 4, 5, 5],
                    "col": [0, 0, 1, 1, 0, 1, 0, 1],
                    "data": [1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 2.0, 2.0],
                }
            },
            "column_names": ["people", "rooms"],
        },
        hyperparameters={"count": 4, "epochs": 100, "comparisons": 0},
        question={"matrix": {"coo": {"shape": [1, 6], "row": [0], "col": [5], "data": [1.0]}}},
    ),
)
