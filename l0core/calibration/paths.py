"""Several prices of a unit at once: from many units to few, with the matrix read once an epoch for all of them."""

from collections.abc import Sequence

import torch
from threadpoolctl import threadpool_limits

from l0core.calibration.doubts import Doubts
from l0core.calibration.kernels import matrix_on
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.objective import prepare
from l0core.calibration.options import SIZE_CONTROLS, CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import finish, identity_of
from l0core.calibration.select import Selector
from l0core.calibration.selectors import Chosen, Work, evaluation, open_weights
from l0core.calibration.walk import WalksTogether
from l0core.context import RunContext, Stopped
from l0core.errors import InvalidHyperparameter
from l0core.progress import bar_if
from l0core.scalars import NOT_NEGATIVE, flag, number, whole


def path(
    problem: CalibrationProblem,
    lambdas: Sequence[float],
    hyperparameters: CalibrationHyperparameters | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    verbose: bool = False,
) -> list[CalibrationResult]:
    """Give a calibration for each `lambda_l0` of `lambdas` (each >= 0), in their order: the frontier of size and error.

    Each is what `run` gives for that price alone, but that no unit is removed on the way (`closing`): the fits share
    the draws of their gates, and the CPU reads the matrix once an epoch for all of them. `hyperparameters` (default:
    the defaults) must leave `lambda_l0`, `lambda_share` and `record_budget` open. Memory: about 100 bytes a unit and
    price beside the matrix. `verbose` shows a progress bar.

    Raises InvalidHyperparameter for a bad price or another control of the size, and what `run` raises.

    >>> problem = CalibrationProblem.build([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]], [6.0, 9.0])
    >>> results = path(problem, [0.0, 0.05, 10.0], CalibrationHyperparameters(epochs=200, learning_rate=0.3))
    >>> [result.summary["n_active"] for result in results]
    [3, 2, 0]
    """
    each = _one_each(lambdas, hyperparameters or CalibrationHyperparameters())
    context = RunContext(seed=whole(seed, name="seed", at_least=0), device=device)
    objective = prepare(problem, each[0])
    with threadpool_limits(1, user_api="blas"), threads_for(objective.plain):
        matrix = matrix_on(torch.device(device), objective.plain)
        identities = [identity_of(problem, options, context.seed) for options in each]
        selectors = [
            Selector(objective, options, context, identity, evaluation(problem, objective), matrix=matrix)
            for options, identity in zip(each, identities, strict=True)
        ]
        _walk(selectors, each[0].epochs, verbose=flag(verbose, name="verbose"))
        return [
            _finished(Work(problem=problem, objective=objective, options=o, context=context, identity=i), selector)
            for selector, o, i in zip(selectors, each, identities, strict=True)
        ]


def _finished(work: Work, selector: Selector) -> CalibrationResult:
    selection = selector.selection()
    chosen = Chosen(weights=open_weights(work.objective, selection, work.options), history=selection.history)
    result = finish(work, chosen, Doubts(findings=(), dense=None))
    if isinstance(result, Stopped):
        raise TypeError("a path that nobody stops was stopped")
    return result


def _one_each(lambdas: Sequence[float], options: CalibrationHyperparameters) -> list[CalibrationHyperparameters]:
    given = [name for name in SIZE_CONTROLS if getattr(options, name) is not None]
    if given:
        raise InvalidHyperparameter(
            f"{given[0]} is given beside lambdas, which set the price of a unit: leave it out",
            pointer=f"/hyperparameters/{given[0]}",
        )
    if options.early_stopping:
        raise InvalidHyperparameter(
            "early_stopping is true, and the fits of a path end together: leave it out",
            pointer="/hyperparameters/early_stopping",
        )
    prices = [number(price, name=f"lambdas[{i}]", within=NOT_NEGATIVE) for i, price in enumerate(lambdas)]
    if not prices:
        raise InvalidHyperparameter("lambdas is empty: give at least one price", pointer="/lambdas")
    return [options.model_copy(update={"lambda_l0": price}) for price in prices]


def _walk(selectors: Sequence[Selector], epochs: int, *, verbose: bool) -> None:
    together = WalksTogether([selector.walk for selector in selectors])
    with bar_if(verbose, "path", epochs) as advance:
        for done in range(epochs + 1):
            for selector in selectors:
                selector.look()
            if done < epochs:
                prices = [selector.next_price() for selector in selectors]
                together.step(prices, learning_rate=selectors[0].learning_rate())
                for selector in selectors:
                    selector.adjust()
            advance(done, f"{len(selectors)} prices")
