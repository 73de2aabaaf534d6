"""For every kind a small problem and runs on it: one table, over which the laws of all kinds are tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.problems import solved

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A change of a body that makes it one that is refused, and where the refusal points."""

    changed: Json
    pointer: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A problem as its body has it, and hyperparameters for it.

    `run` takes some seconds and draws random numbers in every epoch; `endless` changes it to one that no test waits
    for, `continued` to one that goes on from a checkpoint of it, `failing` to one that its engine refuses with `code`.
    `exact` are the files that come out the same to the byte, however often the run was interrupted.
    """

    problem: Json
    run: Json
    every_epochs: int
    endless: Json
    continued: Json
    exact: tuple[str, ...]
    bad_problems: tuple[Refused, ...]
    bad_hyperparameters: tuple[Refused, ...]
    failing: Json
    code: str
    question: Json
    table: Mapping[str, int] = field(default_factory=dict)


def _coo(matrix: np.ndarray[Any, Any]) -> Json:
    row, col = np.nonzero(matrix)
    triples = {"row": row.tolist(), "col": col.tolist(), "data": matrix[row, col].tolist()}
    return {"coo": {"shape": list(matrix.shape), **triples}}


def _calibration() -> Sample:
    problem = solved(n_targets=6, n_units=60).problem
    matrix = _coo(problem.matrix.toarray())
    return Sample(
        problem={
            "matrix": matrix,
            "targets": problem.targets.tolist(),
            "initial_weights": problem.design_weights.tolist(),
        },
        run={"gradient": "sampled", "log_weight_jitter_sd": 0.1, "epochs": 3000},
        every_epochs=200,
        endless={"epochs": 10_000_000},
        continued={"epochs": 40, "learning_rate": 0.05},
        exact=("calibration_weights.npy", "unified_diagnostics.csv"),
        bad_problems=(
            Refused(changed={"targets": [1.0]}, pointer="/targets"),
            Refused(changed={"matrix": {"coo": {**matrix["coo"], "col": [99] * 3}}}, pointer="/matrix"),
            Refused(changed={"targets": [1.0] * 5 + ["six"]}, pointer="/targets/5"),
        ),
        bad_hyperparameters=(
            Refused(changed={"epochs": 0}, pointer="/hyperparameters/epochs"),
            Refused(changed={"epoch": 5}, pointer="/hyperparameters/epoch"),
            Refused(changed={"learning_rate": "fast"}, pointer="/hyperparameters/learning_rate"),
        ),
        failing={"record_budget": 61},
        code="infeasible_budget",
        question={"matrix": {"coo": {"shape": [1, 60], "row": [0], "col": [59], "data": [2.0]}}},
    )


def _pruning() -> Sample:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    layers = [{"type": "linear", "units": 12}, {"type": "relu"}, {"type": "linear", "units": 2}]
    return Sample(
        problem={
            "features": rows.tolist(),
            "outcome": (rows[:, 0] > rows[:, 1]).astype(int).tolist(),
            "task": "classification",
            "network": {"layers": layers},
        },
        run={"target_sparsity": 0.5, "epochs": 80, "finetune_epochs": 20, "batch_size": 16},
        every_epochs=10,
        endless={"epochs": 1_000_000},
        continued={"epochs": 10, "finetune_epochs": 2, "learning_rate": 0.01},
        exact=("model.safetensors", "architecture.json"),
        bad_problems=(
            Refused(changed={"outcome": [0, 1]}, pointer="/outcome"),
            Refused(changed={"network": {"layers": [{"type": "tanh"}]}}, pointer="/network/layers/0"),
            Refused(changed={"features": [[1.0, "two"]]}, pointer="/features/0/1"),
        ),
        bad_hyperparameters=(
            Refused(changed={"epochs": 0}, pointer="/hyperparameters/epochs"),
            Refused(changed={"sparsity": 0.5}, pointer="/hyperparameters/sparsity"),
            Refused(changed={"target_sparsity": 1.5}, pointer="/hyperparameters/target_sparsity"),
        ),
        failing={"target_sparsity": None, "target_parameters": 10_000},
        code="invalid_hyperparameter",
        question={"features": [[0.5, -0.5, 0.0, 1.0]]},
    )


def _sampling() -> Sample:
    draw = np.random.default_rng(2)
    features = _coo(draw.random((80, 4)) * (draw.random((80, 4)) < 0.7))
    return Sample(
        problem={"features": features, "initial_weights": draw.uniform(1, 3, 80).tolist()},
        run={"mode": "hybrid", "count": 20, "random_fraction": 0.25, "epochs": 3000, "comparisons": 1},
        every_epochs=200,
        endless={"epochs": 10_000_000},
        continued={"epochs": 40, "learning_rate": 0.05},
        exact=("sampling_weights.npy", "selection.npy"),
        bad_problems=(
            Refused(changed={"initial_weights": [1.0]}, pointer="/initial_weights"),
            Refused(changed={"targets": [1.0, 2.0, "three"]}, pointer="/targets/2"),
            Refused(changed={"features": [[1.0]]}, pointer="/features"),
        ),
        bad_hyperparameters=(
            Refused(changed={"count": None}, pointer="/hyperparameters/count"),
            Refused(changed={"counts": 5}, pointer="/hyperparameters/counts"),
            Refused(changed={"random_fraction": 1.5}, pointer="/hyperparameters/random_fraction"),
        ),
        failing={"count": 81},
        code="infeasible_budget",
        question={"matrix": {"coo": {"shape": [1, 80], "row": [0], "col": [79], "data": [2.0]}}},
    )


SAMPLES = {"calibration": _calibration(), "pruning": _pruning(), "sampling": _sampling()}
