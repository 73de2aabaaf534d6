"""Least squares with a lower and an upper bound on each weight, for a few columns whose Gram matrix is at hand.

    minimise  1/2 x'G x - c'x   over  lower <= x <= upper        (G = A'A, c = A'b)

by active sets (Stark and Parker 1995, "Bounded-variable least-squares"): free weights go to their unbounded optimum,
those that would pass a bound stay on it, and those on a bound that are pulled off it are freed, several at once. From
the solution for almost the same columns it is one or two factorisations.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from l0core.arrays import FloatArray

_ENOUGH = 1e-12  # of the largest |c|: a pull as small as this is rounding
_RIDGE = 1e-14  # of the trace: the first that is tried where columns depend on one another
_WHOLE_STEPS = 4  # one, and three to take back what a ridge spoiled
_ROUNDS = 200

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BoundedProblem:
    """G (positive semidefinite) and c, and the bounds; `upper` may be infinite."""

    gram: FloatArray
    moment: FloatArray
    lower: FloatArray
    upper: FloatArray

    def value(self, x: FloatArray) -> float:
        """Give 1/2 x'G x - c'x."""
        return float(x @ (self.gram @ x) / 2 - self.moment @ x)

    def pull(self, x: FloatArray) -> FloatArray:
        """Give c - G x: which way, and how strongly, each weight wants to go."""
        return np.asarray(self.moment - self.gram @ x)

    def clip(self, x: FloatArray) -> FloatArray:
        """Give the nearest weights within the bounds."""
        return np.clip(x, self.lower, self.upper)

    def inside(self, x: FloatArray) -> Mask:
        """Say which weights lie on no bound."""
        return np.asarray((x > self.lower) & (x < self.upper))


def solve(problem: BoundedProblem, start: FloatArray) -> FloatArray:
    """Give the weights at the minimum, never worse than `start` within the bounds.

    >>> gram, moment = np.eye(3), np.array([-1.0, 0.5, 4.0])
    >>> solve(BoundedProblem(gram=gram, moment=moment, lower=np.zeros(3), upper=np.full(3, 2.0)), np.ones(3)).tolist()
    [0.0, 0.5, 2.0]
    """
    x = problem.clip(start)
    free, several, best = problem.inside(x), True, np.inf
    enough = _ENOUGH * float(np.abs(problem.moment).max(initial=0.0))
    for _ in range(_ROUNDS):
        x, free = _settle(problem, x, free, enough)
        value, freed = problem.value(x), _pulled_off(problem, x, free, enough)
        if not freed.any() or (value >= best and not several):
            break
        several = value < best  # else one at a time, which cannot go in circles
        best = min(value, best)
        free = free | (freed if several else _strongest(problem, x, freed))
    return x


def _settle(problem: BoundedProblem, x: FloatArray, free: Mask, enough: float) -> tuple[FloatArray, Mask]:
    """Move the free weights to their optimum; those that meet a bound on the way stay there, no longer free."""
    whole_steps = 0
    while whole_steps < _WHOLE_STEPS:
        pull = np.where(free, problem.pull(x), 0.0)
        if np.abs(pull).max(initial=0.0) <= enough:
            break
        step = _newton_step(problem.gram, pull, free)
        whole = problem.clip(x + step)
        if problem.inside(x + step)[free].all():
            x, whole_steps = whole, whole_steps + 1
        else:
            x = min(_to_the_first_bound(problem, x, step), whole, key=problem.value)
            free = free & problem.inside(x)
    return x, free


def _newton_step(gram: FloatArray, pull: FloatArray, free: Mask) -> FloatArray:
    step, positions = np.zeros_like(pull), np.flatnonzero(free)
    step[positions] = la.cho_solve(factor(gram[np.ix_(positions, positions)]), pull[positions], check_finite=False)
    return step


def factor(gram: FloatArray) -> tuple[FloatArray, bool]:
    """Give the Cholesky factor for `cho_solve`, with the least ridge that float64 needs."""
    ridge, least = 0.0, _RIDGE * (float(gram.trace()) or 1.0)
    while True:
        try:
            lower, low = la.cho_factor(gram + ridge * np.eye(len(gram)), lower=True, check_finite=False)
        except la.LinAlgError:
            ridge = max(least, 100 * ridge)
            continue
        return lower, low


def _to_the_first_bound(problem: BoundedProblem, x: FloatArray, step: FloatArray) -> FloatArray:
    bound = np.where(step > 0, problem.upper, problem.lower)
    share = np.divide(bound - x, step, out=np.full(x.size, np.inf), where=step != 0)
    shortest = share.min()
    return np.where(share <= shortest, bound, problem.clip(x + shortest * step))


def _pulled_off(problem: BoundedProblem, x: FloatArray, free: Mask, enough: float) -> Mask:
    """Say which weights would leave their bound for the inside."""
    pull = problem.pull(x)
    inwards = ((pull > enough) & (x < problem.upper)) | ((pull < -enough) & (x > problem.lower))
    return np.asarray(inwards & ~free)


def _strongest(problem: BoundedProblem, x: FloatArray, among: Mask) -> Mask:
    chosen = np.zeros_like(among)
    chosen[np.argmax(np.where(among, np.abs(problem.pull(x)), -1.0))] = True
    return chosen
