"""The same run on a CUDA device. Counted as skipped where there is none."""

import numpy as np
import pytest
import torch

from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import RunContext

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("gradient", ["expected", "sampled"])
def test_a_run_on_the_gpu_meets_the_targets_as_one_on_the_cpu_does(gradient: str) -> None:
    rng = np.random.default_rng(3)
    matrix = rng.random((20, 500)) * (rng.random((20, 500)) < 0.3)
    problem = CalibrationProblem.build(matrix, matrix @ np.full(500, 50.0))
    options = CalibrationHyperparameters.model_validate({"record_budget": 100, "gradient": gradient})
    results = [run(problem, options, RunContext(seed=1, device=device)) for device in ("cpu", "cuda")]
    for result in results:
        assert isinstance(result, CalibrationResult)
        assert result.summary["n_active"] == 100
        assert result.summary["mean_abs_relative_error"] < 1e-6
