"""A calibration from beginning to end: prepare, select, refit, evaluate. Safe to call in a notebook or in a job."""

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from l0core.arrays import FloatArray
from l0core.calibration.attribution import loss_parts
from l0core.calibration.bounds import able_to_meet_the_mass
from l0core.calibration.budget import choose_exactly
from l0core.calibration.checkpoint import Identity
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.refit import RefitProblem, refit
from l0core.calibration.result import CalibrationResult
from l0core.calibration.select import Evaluation, Selection, Selector
from l0core.context import RunContext, StageReport, Stopped

_LEAST = 1e-6  # of the design weight: what a kept unit weighs at least when the refit takes it up


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
    context.report(StageReport(stage="selecting"))
    selection = _select(problem, objective, hyperparameters, context, identity)
    if isinstance(selection, Stopped):
        return selection
    return finish(problem, objective, selection, hyperparameters, context, identity)


def finish(
    problem: CalibrationProblem,
    objective: Objective,
    selection: Selection,
    hyperparameters: CalibrationHyperparameters,
    context: RunContext,
    identity: Identity,
) -> CalibrationResult:
    """Fit the weights of what was selected, and put the result together."""
    chosen = _chosen_weights(objective, selection, hyperparameters)
    context.report(StageReport(stage="refitting"))
    final = _refitted(objective, chosen, hyperparameters, context)
    context.report(StageReport(stage="evaluating"))
    found = loss_parts(objective, final, problem.n_targets)
    return CalibrationResult(
        problem=problem,
        options=hyperparameters,
        identity=identity,
        weights=objective.dense(final, problem.n_units),
        history=selection.history,
        loss=objective.loss(final),
        selection_loss=objective.loss(chosen),
        checkpoint=context.checkpoints.path if context.checkpoints else None,
        parts=found.parts,
        omega_total=found.omega_total,
        past_cap=found.past_cap,
    )


def _select(
    problem: CalibrationProblem,
    objective: Objective,
    options: CalibrationHyperparameters,
    context: RunContext,
    identity: Identity,
) -> Selection | Stopped:
    with threads_for(objective.plain):
        return Selector(objective, options, context, identity, evaluation(problem, objective)).run()


def evaluation(problem: CalibrationProblem, objective: Objective) -> Evaluation:
    """Give what makes estimates of all targets, held-out ones too, from those of the fit."""
    held_out = np.flatnonzero(problem.holdout)

    def estimates(of_the_fit: FloatArray, weights: Callable[[], FloatArray]) -> FloatArray:
        found = np.empty(problem.n_targets)
        found[objective.rows] = of_the_fit
        if held_out.size:
            found[held_out] = problem.matrix[held_out] @ objective.dense(weights(), problem.n_units)
        return found

    return estimates


def identity_of(problem: CalibrationProblem, options: CalibrationHyperparameters, seed: int) -> Identity:
    """Give whose state a run's is."""
    return Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=seed)


def _chosen_weights(objective: Objective, selection: Selection, options: CalibrationHyperparameters) -> FloatArray:
    """Give the weights the gates ended with; with a budget, those of exactly that many units are above 0."""
    bounds, gates = objective.bounds, selection.gates.copy()
    gates[bounds.always] = np.maximum(gates[bounds.always], np.finfo(np.float64).tiny)
    exact = options.record_budget is not None
    if options.record_budget is None:
        kept = np.flatnonzero(gates > 0)
    else:
        kept = choose_exactly(options.record_budget, gates, selection.usefulness, always=bounds.always)
    kept = able_to_meet_the_mass(kept, bounds, selection.usefulness, exact=exact)
    least = np.maximum(bounds.lower[kept], _LEAST * objective.prior[kept])  # for a weight that is 0 in float32
    chosen = np.zeros_like(selection.weights)
    chosen[kept] = np.maximum(
        selection.weights[kept] * np.where(selection.gates[kept] > 0, selection.gates[kept], 1.0), least
    )
    return chosen


def _refitted(
    objective: Objective, chosen: FloatArray, options: CalibrationHyperparameters, context: RunContext
) -> FloatArray:
    kept = np.flatnonzero(chosen > 0)
    if not options.refit or not kept.size:
        return chosen
    frozen = RefitProblem(
        matrix=objective.columns(kept),
        goal=objective.goal,
        bounds=objective.bounds.of(kept),
        omega=objective.omega,
        cost=objective.cost,
        ridge=None if objective.ridge is None else objective.ridge[kept],
    )
    final = np.zeros_like(chosen)
    final[kept] = refit(frozen, chosen[kept], stop=context.should_stop)
    return final
