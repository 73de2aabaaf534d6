"""A pruning from beginning to end: train, choose, train again, compact, evaluate. In a notebook or in a job."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from l0core.checkpoint import Identity
from l0core.context import RunContext, StageReport, Stopped
from l0core.errors import InvalidHyperparameter
from l0core.layers import compact
from l0core.pruning.data import Data, prepare
from l0core.pruning.forward import forward
from l0core.pruning.judging import judged
from l0core.pruning.latency import latencies
from l0core.pruning.model import Model
from l0core.pruning.onnx_model import Runtime, onnx_bytes
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.price import price_of
from l0core.pruning.problem import PruningProblem
from l0core.pruning.result import NetworkScores, PruningResult
from l0core.pruning.training import Trained, Training

_MOST_BYTES_A_STEP = 2**31  # of what the layers of both networks give for a batch, kept for the way back
_ROWS_COMPARED = 1_000


def run(
    problem: PruningProblem, hyperparameters: PruningHyperparameters, context: RunContext
) -> PruningResult | Stopped:
    """Prune; the same problem, hyperparameters and seed give the same bits on the CPU, latencies aside.

    >>> rows = np.random.default_rng(0).normal(size=(200, 8))
    >>> layers = [{"type": "linear", "units": 16}, {"type": "relu"}, {"type": "linear", "units": 2}]
    >>> problem = PruningProblem.build(rows, 1 * (rows[:, 0] > 0), task="classification", network={"layers": layers})
    >>> options = PruningHyperparameters(target_parameters=40, epochs=5, finetune_epochs=2, learning_rate=0.01)
    >>> run(problem, options, RunContext(seed=1)).summary["parameters"]["kept"]
    40
    """
    with _one_thread():
        return _run(problem, hyperparameters, context)


def _run(
    problem: PruningProblem, hyperparameters: PruningHyperparameters, context: RunContext
) -> PruningResult | Stopped:
    _check_memory(problem, hyperparameters)
    context.report(StageReport(stage="preparing"))
    identity = identity_of(problem, hyperparameters, context.seed)
    data = prepare(problem, context.seed, context.device)
    training = Training(problem, hyperparameters, context, identity, data)
    context.report(StageReport(stage="selecting"))
    trained = training.run()
    if isinstance(trained, Stopped):
        return trained
    context.report(StageReport(stage="evaluating"))
    return finish(problem, hyperparameters, context, identity, data, trained)


def finish(
    problem: PruningProblem,
    options: PruningHyperparameters,
    context: RunContext,
    identity: Identity,
    data: Data,
    trained: Trained,
) -> PruningResult:
    """Compact what was chosen, judge all networks, and put the result together."""
    small = compact(trained.pruned)
    assert isinstance(small, nn.Sequential)  # noqa: S101  # as what went in; says so to the type checker
    dense, pruned = (
        Model.of(each, problem.plan, task=problem.task, scale=data.scale) for each in (trained.twin, small)
    )
    networks = {"dense": trained.twin, "gated": trained.gated, "compact": small}
    files = {"dense": onnx_bytes(dense), "compact": onnx_bytes(pruned)}
    runtimes = {name: Runtime(file) for name, file in files.items()}
    rows = data.training.rows[:_ROWS_COMPARED].reshape(-1, dense.n_features).cpu().numpy()
    difference = np.abs(runtimes["compact"](rows) - forward(pruned.plan, pruned.weights, rows)).max()
    return PruningResult(
        problem=problem,
        options=options,
        identity=identity,
        dense=dense,
        compact=pruned,
        onnx=files["compact"],
        onnx_difference=float(difference),
        kept=int(trained.history.metrics["parameters"][-1]),
        goal=price_of(problem.plan, options).goal,
        scores={name: _scores(network, data, problem) for name, network in networks.items()},
        unit=data.scale.unit,
        latency=latencies(dict(runtimes), rows, clock=context.clock),
        history=trained.history,
        checkpoint=_checkpoint(context),
    )


def identity_of(problem: PruningProblem, options: PruningHyperparameters, seed: int) -> Identity:
    """Give whose state a run's is."""
    return Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=seed)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work on one thread: on more it adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_memory(problem: PruningProblem, options: PruningHyperparameters) -> None:
    """Refuse batches whose numbers, four bytes each in two networks and twice on the way back, fit no machine."""
    rows = min(options.batch_size, problem.n_rows)
    needed = 16 * rows * problem.plan.numbers
    if needed > _MOST_BYTES_A_STEP:
        fitting = max(1, math.floor(_MOST_BYTES_A_STEP / (16 * problem.plan.numbers)))
        raise InvalidHyperparameter(
            f"batch_size {options.batch_size} takes {needed} bytes a step for this network; {fitting} rows fit",
            pointer="/hyperparameters/batch_size",
        )


def _scores(network: nn.Module, data: Data, problem: PruningProblem) -> NetworkScores:
    return NetworkScores(
        training=judged(network, data.training, problem.task), holdout=judged(network, data.holdout, problem.task)
    )


def _checkpoint(context: RunContext) -> Path | None:
    path = context.checkpoints.path if context.checkpoints else None
    return path if path is not None and path.exists() else None
