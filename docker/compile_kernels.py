"""Compile the engine's kernels while the image is built, so that no job waits for it."""

from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.run import run
from l0core.context import RunContext

WAYS = (
    {"gradient": "expected", "epochs": 20},
    {"gradient": "sampled", "epochs": 20},
    {"selector": "matching_pursuit", "record_budget": 2},
)

problem = CalibrationProblem.build([[1.0, 1.0, 0.0, 1.0], [0.0, 4.0, 1.0, 0.0]], [5.0, 10.0])
for way in WAYS:
    run(problem, CalibrationHyperparameters.model_validate(way), RunContext(seed=0))
