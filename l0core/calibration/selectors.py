"""How units are chosen, as strategies: by gates, by matching pursuit, or all of them (classical calibration).

Each gives weights of the candidates, those of the chosen units above 0. `auto` takes a pursuit where fewer units are
asked for than there are targets and it is affordable: there it is far ahead of gates (docs/matching-pursuit.md).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.bounds import able_to_meet_the_mass
from l0core.calibration.budget import choose_exactly
from l0core.calibration.classical import Near, nearest, nearest_possible
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.matching_pursuit import pursue
from l0core.calibration.objective import Objective
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.select import Selection, Selector
from l0core.calibration.swaps import swap
from l0core.checkpoint import Identity
from l0core.context import EpochReport, FindingReport, RunContext, Stopped
from l0core.errors import CheckpointIncompatible, InfeasibleTargets, InvalidHyperparameter
from l0core.history import History

_LEAST = 1e-6  # of the design weight: what a kept unit weighs at least when the refit takes it up
_MOST_PURSUIT = 1e10  # units times nonzeros: half a minute


@dataclass(frozen=True, kw_only=True)
class Work:
    """One run's problem and settings."""

    problem: CalibrationProblem
    objective: Objective
    options: CalibrationHyperparameters
    context: RunContext
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Weights of the candidates, above 0 for the chosen ones; `settled` where no refit is to change them."""

    weights: FloatArray
    history: History
    settled: bool = False


def select(work: Work) -> Chosen | Stopped:
    """Choose units as the hyperparameters say, and say so where they leave it open."""
    asked = work.options.selector
    return _SELECTORS[_suited(work) if asked == "auto" else asked](work)


def _suited(work: Work) -> str:
    budget, objective, context = work.options.record_budget, work.objective, work.context
    gated = work.options.sets_gates or context.resume_from is not None or context.continue_from is not None
    if budget is None or budget >= objective.rows.size or budget * objective.plain.nnz > _MOST_PURSUIT or gated:
        return "gates"
    context.report(
        FindingReport(
            code="selector_chosen",
            severity="info",
            message=f"{budget} units are fewer than the {objective.rows.size} targets of the fit: they are chosen by "
            "matching pursuit; a setting of the gates, or selector gates, would have them chosen by gates",
        )
    )
    return "matching_pursuit"


# --- gates


def _by_gates(work: Work) -> Chosen | Stopped:
    with threads_for(work.objective.plain):
        selection = Selector(
            work.objective, work.options, work.context, work.identity, evaluation(work.problem, work.objective)
        ).run()
    if isinstance(selection, Stopped):
        return selection
    return swapped(
        work, Chosen(weights=open_weights(work.objective, selection, work.options), history=selection.history)
    )


def open_weights(objective: Objective, selection: Selection, options: CalibrationHyperparameters) -> FloatArray:
    """Give the weights the gates ended with; with a budget, those of exactly that many units are above 0."""
    bounds, gates = objective.bounds, selection.gates.copy()
    gates[bounds.always] = np.maximum(gates[bounds.always], np.finfo(np.float64).tiny)
    exact = options.record_budget is not None
    if options.record_budget is None:
        kept = np.flatnonzero(gates > 0)
    else:
        kept = choose_exactly(options.record_budget, gates, selection.usefulness, always=bounds.always)
    kept = able_to_meet_the_mass(kept, bounds, selection.usefulness, exact=exact)
    open_ = np.where(selection.gates[kept] > 0, selection.gates[kept], 1.0)
    return _spread(objective, kept, selection.weights[kept] * open_)


def _spread(objective: Objective, kept: NDArray[np.intp], weights: FloatArray) -> FloatArray:
    """Give weights of all candidates; a kept one that is 0 in float32 weighs something still."""
    chosen = np.zeros(objective.n_candidates)
    chosen[kept] = np.maximum(weights, np.maximum(objective.bounds.lower[kept], _LEAST * objective.prior[kept]))
    return chosen


def evaluation(
    problem: CalibrationProblem, objective: Objective
) -> Callable[[FloatArray, Callable[[], FloatArray]], FloatArray]:
    """Give what makes estimates of all targets, held-out ones too, from those of the fit."""
    held_out = np.flatnonzero(problem.holdout)

    def estimates(of_the_fit: FloatArray, weights: Callable[[], FloatArray]) -> FloatArray:
        found = np.empty(problem.n_targets)
        found[objective.rows] = of_the_fit
        if held_out.size:
            found[held_out] = problem.matrix[held_out] @ objective.dense(weights())
        return found

    return estimates


# --- matching pursuit


def _by_pursuit(work: Work) -> Chosen | Stopped:
    objective, context, budget = work.objective, work.context, work.options.record_budget
    _check_afresh(work)
    if budget is None:
        raise InvalidHyperparameter("a pursuit needs a record_budget", pointer="/hyperparameters/record_budget")
    history = _begun(work)
    matrix, required = _columns(objective)
    found = pursue(
        matrix,
        objective.goal,
        budget,
        lower=objective.bounds.lower,
        upper=objective.bounds.upper,
        required=required,
        should_stop=context.should_stop,
        report=_progress(work, budget),
    )
    if context.should_stop():
        return Stopped(epoch=0)
    kept = able_to_meet_the_mass(found.kept, objective.bounds, np.zeros(objective.n_candidates), exact=True)
    weights = np.zeros(objective.n_candidates)
    weights[found.kept] = found.weights
    chosen = swapped(work, Chosen(weights=_spread(objective, kept, weights[kept]), history=history))
    _record(work, history, budget, chosen.weights)
    return chosen


def _progress(work: Work, budget: int) -> Callable[[int, float], None]:
    def report(units: int, loss: float) -> None:
        metrics = {"loss": loss, "data_loss": loss, "active": float(units)}
        work.context.report(EpochReport(epoch=units, epochs=budget, metrics=metrics))

    return report


def swapped(work: Work, chosen: Chosen) -> Chosen:
    """Exchange units while that betters the fit, where the budget is below the number of targets."""
    objective, budget = work.objective, work.options.record_budget
    few = budget is not None and budget < objective.rows.size and budget * objective.plain.nnz <= _MOST_PURSUIT
    if not few or objective.bounds.mass is not None or work.context.should_stop():
        return chosen
    matrix, required = _columns(objective)
    kept = np.flatnonzero(chosen.weights > 0)
    found = swap(
        matrix,
        objective.goal,
        kept,
        chosen.weights[kept],
        lower=objective.bounds.lower,
        upper=objective.bounds.upper,
        required=required,
        should_stop=work.context.should_stop,
    )
    return Chosen(weights=_spread(objective, found.kept, found.weights), history=chosen.history)


def _columns(objective: Objective) -> tuple[sp.csc_array, NDArray[np.bool_]]:
    required = np.zeros(objective.n_candidates, dtype=np.bool_)
    required[objective.bounds.always] = True
    return sp.csc_array(objective.columns(np.arange(objective.n_candidates))), required


# --- all units


def _all(work: Work) -> Chosen | Stopped:
    """Keep every candidate, at the weights nearest to the design weights that meet the targets, or nearly do."""
    objective, context = work.objective, work.context
    _check_afresh(work)
    history, near = _begun(work), _nearness(work)
    matrix, goal = objective.plain, objective.goal / objective.factor
    if objective.bounds.mass is not None:
        matrix = sp.csr_array(sp.vstack([matrix, sp.csr_array(np.ones((1, objective.n_candidates)))]))
        goal = np.append(goal, objective.bounds.mass)
    try:
        weights = nearest(matrix, goal, near, stop=context.should_stop)
    except InfeasibleTargets as error:
        message = f"{error.message}; the weights come as near as they can instead"
        context.report(FindingReport(code="infeasible_targets", severity="warning", message=message))
        rows = objective.columns(np.arange(objective.n_candidates))
        weights = nearest_possible(rows, objective.goal, near, mass=objective.bounds.mass, stop=context.should_stop)
    if context.should_stop():
        return Stopped(epoch=0)
    _record(work, history, 1, weights)
    return Chosen(weights=weights, history=history, settled=True)


def _nearness(work: Work) -> Near:
    options, bounds, problem = work.options, work.objective.bounds, work.problem
    if options.distance == "logit" and (problem.lower_bounds is not None or problem.upper_bounds is not None):
        raise InvalidHyperparameter(
            "the logit distance is made of bounds of w/d, and the problem has weight_bounds: give min_weight_ratio and "
            "max_weight_ratio alone, or another distance",
            pointer="/hyperparameters/distance",
        )
    low, high = options.min_weight_ratio or 0.0, options.max_weight_ratio
    return Near(
        distance=options.distance or "linear",
        design=work.objective.prior,
        lower=bounds.lower,
        upper=bounds.upper,
        ratios=(low, np.inf if high is None else high),
    )


# --- what was recorded of a selection that has no epochs


def _check_afresh(work: Work) -> None:
    if work.context.continue_from is not None:
        raise CheckpointIncompatible(
            f"selector '{work.options.selector}' begins afresh and goes on from no checkpoint: start without it"
        )


def _begun(work: Work) -> History:
    history = History()
    _record(work, history, 0, work.objective.bounds.project(work.objective.prior))
    return history


def _record(work: Work, history: History, step: int, weights: FloatArray) -> None:
    """Add what weights of the candidates come to."""
    objective = work.objective
    errors = np.abs(objective.errors(weights) * np.sqrt(objective.omega) * objective.to_relative)
    loss = objective.loss(weights)
    history.add(
        step,
        {
            "loss": loss,
            "data_loss": loss,
            "active": float((weights > 0).sum()),
            "mean_abs_relative_error": float(errors.mean()),
            "median_abs_relative_error": float(np.median(errors)),
            "max_abs_relative_error": float(errors.max()),
        },
    )
    history.snapshots[step] = work.problem.estimates(objective.dense(weights))
    last = {name: values[-1] for name, values in history.metrics.items()}
    work.context.report(EpochReport(epoch=step, epochs=work.options.record_budget or 1, metrics=last))


_SELECTORS: dict[str, Callable[[Work], Chosen | Stopped]] = {
    "gates": _by_gates,
    "matching_pursuit": _by_pursuit,
    "dense": _all,
}
