"""A calibration from beginning to end: prepare, select, refit, evaluate. Safe to call in a notebook or in a job."""

from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from l0core.arrays import FloatArray
from l0core.calibration.attribution import loss_parts
from l0core.calibration.doubts import Doubts, doubts
from l0core.calibration.exchange import exchanged
from l0core.calibration.losses import SQUARED
from l0core.calibration.objective import prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.refit import RefitProblem, refit
from l0core.calibration.result import CalibrationResult
from l0core.calibration.selectors import Chosen, Work, select
from l0core.checkpoint import Identity
from l0core.context import FindingReport, RunContext, StageReport, Stopped


def run(
    problem: CalibrationProblem, hyperparameters: CalibrationHyperparameters, context: RunContext
) -> CalibrationResult | Stopped:
    """Calibrate; the same problem, hyperparameters and seed give the same bits on the CPU.

    >>> problem = CalibrationProblem.build([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]], [6.0, 9.0])
    >>> result = run(problem, CalibrationHyperparameters(record_budget=2, epochs=50), RunContext(seed=1))
    >>> result.summary["n_active"], bool(result.summary["max_abs_relative_error"] < 1e-6)
    (2, True)
    """
    with threadpool_limits(1, user_api="blas"):  # on more it adds in another order
        return _run(problem, hyperparameters, context)


def _run(
    problem: CalibrationProblem, hyperparameters: CalibrationHyperparameters, context: RunContext
) -> CalibrationResult | Stopped:
    identity = identity_of(problem, hyperparameters, context.seed)
    context.report(StageReport(stage="preparing"))
    objective = prepare(problem, hyperparameters)
    found = doubts(problem, objective, hyperparameters)
    for finding in found.findings:
        context.report(FindingReport.of(finding))
    context.report(StageReport(stage="selecting"))
    work = Work(problem=problem, objective=objective, options=hyperparameters, context=context, identity=identity)
    chosen = select(work)
    return chosen if isinstance(chosen, Stopped) else finish(work, chosen, found)


def finish(work: Work, chosen: Chosen, found: Doubts) -> CalibrationResult | Stopped:
    """Fit the weights of what was selected, and put the result together."""
    context, objective, problem = work.context, work.objective, work.problem
    context.report(StageReport(stage="refitting"))
    final = chosen.weights if chosen.settled else _refitted(work, chosen.weights)
    if context.should_stop():
        return Stopped(epoch=chosen.history.steps[-1])
    context.report(StageReport(stage="evaluating"))
    parts = loss_parts(objective, final, problem.n_targets)
    return CalibrationResult(
        problem=problem,
        options=work.options,
        identity=work.identity,
        weights=objective.dense(final),
        history=chosen.history,
        loss=objective.loss(final),
        selection_loss=objective.loss(chosen.weights),
        checkpoint=_checkpoint(context),
        parts=parts.parts,
        omega_total=parts.omega_total,
        past_cap=parts.past_cap,
        lower_bound=None if found.dense is None else found.dense.loss,
        prices=None if found.dense is None else _by_target(found.dense.prices, work),
        findings=found.findings,
    )


def identity_of(problem: CalibrationProblem, options: CalibrationHyperparameters, seed: int) -> Identity:
    """Give whose state a run's is."""
    return Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=seed)


def _checkpoint(context: RunContext) -> Path | None:
    """Give the last checkpoint; a selection without epochs leaves none."""
    path = context.checkpoints.path if context.checkpoints else None
    return path if path is not None and path.exists() else None


def _by_target(prices: FloatArray, work: Work) -> FloatArray:
    spread = np.full(work.problem.n_targets, np.nan)
    spread[work.objective.rows] = prices
    return spread


def _refitted(work: Work, chosen: FloatArray) -> FloatArray:
    """Fit the chosen units and, with a budget, exchange those that carry nothing; as they are without a refit."""
    if not work.options.refit or not (chosen > 0).any():
        return chosen
    fitted = _fitted(work, chosen)
    if work.options.record_budget is None or work.objective.cost != SQUARED:
        return fitted
    return exchanged(work.objective, fitted, partial(_fitted, work), stop=work.context.should_stop)


def _fitted(work: Work, chosen: FloatArray) -> FloatArray:
    objective, kept = work.objective, np.flatnonzero(chosen > 0)
    frozen = RefitProblem(
        matrix=objective.columns(kept),
        goal=objective.goal,
        bounds=objective.bounds.of(kept),
        omega=objective.omega,
        cost=objective.cost,
        ridge=None if objective.ridge is None else objective.ridge[kept],
    )
    final = np.zeros_like(chosen)
    final[kept] = refit(frozen, chosen[kept], stop=work.context.should_stop)
    return final
