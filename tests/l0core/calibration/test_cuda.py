"""The same run on a CUDA device, skipped and counted where there is none; and what can be said of it without one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from l0core.calibration.budget import BudgetPrice, FixedPrice
from l0core.calibration.descent import Descent, DrawnGates, Gates, Landscape
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.calibration.walk import PlainWalk
from l0core.context import RunContext
from l0core.hard_concrete import GateMoments, GateShape

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


class _Dense:
    """A matrix without numbers, for torch has no sparse ones of that kind."""

    def __init__(self, dense: Tensor) -> None:
        self._dense = dense

    def times(self, weights: Tensor) -> Tensor:
        return self._dense @ weights

    def transposed_times(self, residual: Tensor) -> Tensor:
        return self._dense.T @ residual

    def keep(self, units: Tensor) -> None:
        self._dense = self._dense * units


def _walk_elsewhere(kind: str) -> PlainWalk:
    """Give a walk of tensors without numbers, one step on: the first sets the gradient's unit, and waits for it."""
    shape, units, rows = GateShape(beta=0.35), 50, 7
    moments = GateMoments(shape, device="cpu")
    moments.table, moments.slopes = (torch.empty(t.shape, device="meta") for t in (moments.table, moments.slopes))
    gates: Gates = DrawnGates(shape=shape, seed=1) if kind == "drawn" else moments
    landscape = Landscape(
        matrix=_Dense(torch.empty(rows, units, device="meta")),
        factor=torch.empty(rows, device="meta"),
        goal=torch.empty(rows, device="meta"),
        squared_norms=torch.empty(units, device="meta"),
        shape=shape,
        lambda_l2=0.1,
    )
    state = Descent.start(torch.empty(2, units, device="meta"))
    state.steps = 1
    way = PlainWalk.__new__(PlainWalk)  # made, it would ask once whether all units are left
    way._state, way._gates, way._landscape = state, gates, landscape
    return way


@pytest.mark.parametrize("kind", ["drawn", "expected"])
@pytest.mark.parametrize(
    "policy", [FixedPrice(start=0.1), BudgetPrice(start=0.1, budget=10, candidates=50, epochs=100)]
)
def test_an_epoch_stays_on_the_card_and_never_waits_for_it(kind: str, policy: FixedPrice | BudgetPrice) -> None:
    """On torch's device without numbers: what the host asks for, or what meets a vector of the host's, raises."""
    way = _walk_elsewhere(kind)
    price = torch.empty((), dtype=torch.float64, device="meta")
    for _ in range(3):
        price = policy.update(price, way.expected_l0, way.steps)
        way.step(price, learning_rate=0.1)
    state = way.descent()
    assert state.steps == 4
    for tensor in (price, state.theta, state.adam.first, state.adam.second):
        assert tensor.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        way.measure()  # which has numbers for the host
