"""The units a sample is made of, chosen by the calibration's own selection, and their weights by its refit."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.exchange import exchanged
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.refit import RefitProblem, refit
from l0core.calibration.select import Selector
from l0core.calibration.selectors import Chosen, Work, evaluation, open_weights, swapped
from l0core.checkpoint import Identity
from l0core.context import RunContext, StageReport, Stopped
from l0core.history import History
from l0core.sampling.options import SamplingHyperparameters

Stop = Callable[[], bool]
_LEAST = 1e-6  # of the design weight: what a kept unit weighs at least when the refit takes it up


def never() -> bool:
    """Say no."""
    return False


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What gives any choice of units their weights: the refit of a calibration."""

    objective: Objective

    @classmethod
    def of(cls, problem: CalibrationProblem, count: int) -> "Fit":
        """Prepare the refit of samples of `count` units."""
        return cls(objective=prepare(problem, _budget(count)))

    @property
    def candidates(self) -> NDArray[np.intp]:
        """The units that may be chosen."""
        return self.objective.units

    def weights(self, units: NDArray[np.intp], start: FloatArray, *, stop: Stop = never) -> FloatArray:
        """Give weights of all N units, those of `units` (sorted) above 0, that reproduce the totals best.

        `start` has one weight for each of `units`. Of several fits as good, that with the largest effective sample
        size. Told to stop, it ends with what it has.
        """
        chosen = np.zeros(self.objective.n_candidates)
        kept = np.searchsorted(self.objective.units, units)
        chosen[kept] = np.maximum(start, _LEAST * self.objective.prior[kept])
        return self.objective.dense(self.of_candidates(chosen, stop=stop))

    def of_candidates(self, chosen: FloatArray, *, stop: Stop = never) -> FloatArray:
        """Give the same from weights of the candidates to weights of the candidates."""
        objective, kept = self.objective, np.flatnonzero(chosen > 0)
        frozen = RefitProblem(
            matrix=objective.columns(kept), goal=objective.goal, bounds=objective.bounds.of(kept), omega=objective.omega
        )
        found = np.zeros_like(chosen)
        found[kept] = refit(frozen, chosen[kept], stop=stop)
        return found

    def loss(self, weights: FloatArray) -> float:
        """Give the summed squared relative error of the totals in the fit, under weights of all N units."""
        return self.objective.loss(weights[self.objective.units])


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The units of a selection, their weights at its end (N), and its curves."""

    units: NDArray[np.intp]
    weights: FloatArray
    history: History


def select(
    problem: CalibrationProblem, count: int, options: SamplingHyperparameters, context: RunContext, identity: Identity
) -> Selected | Stopped:
    """Choose exactly `count` units by gates, and exchange those that carry nothing; checkpoints are of `identity`."""
    exact = _budget(count).model_copy(update={"epochs": options.epochs, "learning_rate": options.learning_rate})
    objective = prepare(problem, exact)
    with threads_for(objective.plain):
        found = Selector(
            objective, _priced(exact, options.lambda_l0), context, identity, evaluation(problem, objective)
        ).run()
    if isinstance(found, Stopped):
        return found
    chosen = Chosen(weights=open_weights(objective, found, exact), history=found.history)
    work = Work(problem=problem, objective=objective, options=exact, context=context, identity=identity)
    context.report(StageReport(stage="refitting"))
    weights = _exchanged(Fit(objective=objective), swapped(work, chosen).weights, context)
    return Selected(units=np.flatnonzero(weights > 0), weights=weights, history=found.history)


def _exchanged(fit: Fit, chosen: FloatArray, context: RunContext) -> FloatArray:
    """Fit the weights (of the candidates), and share them among more units where some carry nothing; gives N."""
    objective = fit.objective
    fitted = fit.of_candidates(chosen, stop=context.should_stop)
    return objective.dense(
        exchanged(objective, fitted, partial(fit.of_candidates, stop=context.should_stop), stop=context.should_stop)
    )


def _priced(options: CalibrationHyperparameters, lambda_l0: float | None) -> CalibrationHyperparameters:
    """Give the options of the gates: at a price that stays, where one is given, or one that follows the count."""
    if lambda_l0 is None:
        return options
    return options.model_copy(update={"lambda_l0": lambda_l0, "record_budget": None})


def _budget(count: int) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(record_budget=count, selector="gates")
