"""What a sample is held against: random and stratified random draws of the same size, reweighted by the same refit.

Every draw gets the weights that the refit gives it towards the same totals: what remains is the choice of units.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.context import RunContext
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.representing import Representation, representation
from l0core.sampling.selection import Fit
from l0core.sampling.strata import allocated, strata_of

Draw = Callable[[np.random.Generator], NDArray[np.intp]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How well some draws of one sort represent the whole, each reweighted."""

    name: str
    draws: tuple[Representation, ...]

    def median(self, name: str) -> float | None:
        """Give the median of one of `Representation.numbers` over the draws; None where they have none."""
        numbers = [number for draw in self.draws if (number := draw.numbers[name]) is not None]
        return float(np.median(numbers)) if numbers else None


def compared(
    problem: SamplingProblem,
    fit: Fit,
    options: SamplingHyperparameters,
    rng: np.random.Generator,
    context: RunContext,
) -> tuple[Comparison, ...]:
    """Draw and reweigh; told to stop, it ends with what it has. Cost: two refits a comparison."""
    if not options.comparisons:
        return ()
    strata = strata_of(problem)[fit.candidates]
    draws: dict[str, Draw] = {
        "random": lambda rng: _random(fit.candidates, options.count, rng),
        "stratified": lambda rng: fit.candidates[stratified(strata, options.count, rng)],
    }
    return tuple(
        Comparison(name=name, draws=tuple(_weighed(problem, fit, draw, rng, _turns(options.comparisons, context))))
        for name, draw in draws.items()
    )


def stratified(strata: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Give `count` positions in order: from each stratum its share by number, drawn at random without replacement.

    >>> stratified(np.array([0, 0, 1, 1]), 2, np.random.default_rng(0)).tolist()
    [1, 3]
    """
    labels, sizes = np.unique(strata, return_counts=True)
    shares = allocated(sizes, count)
    drawn = [
        rng.choice(np.flatnonzero(strata == label), share, replace=False)
        for label, share in zip(labels, shares, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _random(candidates: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return np.sort(rng.choice(candidates, count, replace=False))


def _turns(count: int, context: RunContext) -> Iterable[int]:
    """Count to `count`, or to where the context says stop."""
    for turn in range(count):
        if context.should_stop():
            return
        yield turn


def _weighed(
    problem: SamplingProblem, fit: Fit, draw: Draw, rng: np.random.Generator, turns: Iterable[int]
) -> Iterable[Representation]:
    for _ in turns:
        units = draw(rng)
        weights = fit.weights(units, _expansion(problem.design_weights, units))
        yield representation(problem, weights)


def _expansion(design_weights: FloatArray, units: NDArray[np.intp]) -> FloatArray:
    """Give the design weights of `units`, raised to the sum of all."""
    drawn = design_weights[units]
    return np.asarray(drawn * (design_weights.sum() / drawn.sum()))
