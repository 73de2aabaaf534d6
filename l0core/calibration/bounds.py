"""What the weights of kept units may be: bounds of each, a sum for all, units that always stay; and what cannot be met.

A unit that is not kept has weight 0 whatever its bounds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from l0core.arrays import FloatArray
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import InfeasibleBudget, InvalidInput

_HALVINGS = 200
_MASS_IS_MET = 1e-12  # of the mass


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of the weights of some units if they are kept, which of them always are (positions), and their sum.

    `upper` may be infinite; `mass` is None where the sum is free.
    """

    lower: FloatArray
    upper: FloatArray
    always: NDArray[np.intp]
    mass: float | None = None

    def of(self, kept: NDArray[np.intp]) -> "Bounds":
        """Give those of the units `kept`, all of which stay."""
        return Bounds(lower=self.lower[kept], upper=self.upper[kept], always=np.arange(kept.size), mass=self.mass)

    def down_to_zero(self) -> "Bounds":
        """Give the same without lower ends: units that are not kept weigh nothing."""
        return replace(self, lower=np.zeros_like(self.lower))

    def project(self, weights: FloatArray) -> FloatArray:
        """Give the nearest weights that hold every bound, and the sum where there is one (see `within`)."""
        return within(weights, self.lower, self.upper, self.mass)


def within(weights: FloatArray, lower: FloatArray, upper: FloatArray, mass: float | None) -> FloatArray:
    """Give the weights nearest to `weights` with lower <= w <= upper and, where `mass` is given, that sum.

    With a sum it is clip(w + t, lower, upper) for one t (bisection, then the rest is shared out); bounds that cannot
    reach the sum are held, and the sum is not.

    >>> within(np.array([1.0, 5.0, 9.0]), np.zeros(3), np.array([4.0, 4.0, 20.0]), 10.0).tolist()
    [0.0, 3.0, 7.0]
    """
    clipped = np.clip(weights, lower, upper)
    if mass is None or _is_met(clipped, mass):
        return clipped
    wanted = min(max(mass, float(lower.sum())), float(upper.sum()))
    shift = _shift(weights, lower, upper, wanted)
    moved = np.clip(weights + shift, lower, upper)
    missing = wanted - float(moved.sum())
    free = (moved + missing > lower) & (moved + missing < upper) & (moved > lower) & (moved < upper)
    if free.any():
        moved[free] += missing / int(free.sum())
    return np.clip(moved, lower, upper)


def _is_met(weights: FloatArray, mass: float) -> bool:
    return abs(float(weights.sum()) - mass) <= _MASS_IS_MET * mass


def _shift(weights: FloatArray, lower: FloatArray, upper: FloatArray, mass: float) -> float:
    """Give the t at which clip(w + t) has this sum, which grows with t."""
    finite = np.where(np.isfinite(upper), upper, np.maximum(weights, lower) + mass)
    low, high = float((lower - weights).min()), float((finite - weights).max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if float(np.clip(weights + middle, lower, upper).sum()) < mass:
            low = middle
        else:
            high = middle
    return low


def candidates(problem: CalibrationProblem, prior: FloatArray, used: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Give the units that may be kept: of positive weight, that contribute to a target or are protected, with room.

    `prior` are the design weights after the policy for zeros. Raises InvalidInput for a protected unit that cannot be.
    """
    wanted = used.copy()
    wanted[problem.protected_units] = True
    dead = problem.protected_units[prior[problem.protected_units] <= 0]
    if dead.size:
        raise InvalidInput(
            f"protected unit {dead[0]} has design weight 0, and zero_prior 'drop' never keeps such a unit: give "
            "zero_prior 'floor' or protect others",
            pointer="/protected_units",
        )
    open_ = wanted & (prior > 0)
    if problem.upper_bounds is not None:
        open_ &= problem.upper_bounds > 0
    return np.flatnonzero(open_)


def bounds_of(
    problem: CalibrationProblem, options: CalibrationHyperparameters, units: NDArray[np.intp], prior: FloatArray
) -> Bounds:
    """Give the bounds of the candidates `units` with design weights `prior`; the tighter of two holds.

    Raises InfeasibleBudget, with the numbers, where budget, bounds, mass and protected units cannot be met together.
    """
    always = np.searchsorted(units, problem.protected_units)
    lower = _ratio_floor(options, prior, always)
    upper = np.full(units.size, np.inf) if options.max_weight_ratio is None else options.max_weight_ratio * prior
    if problem.lower_bounds is not None:
        lower = np.maximum(lower, problem.lower_bounds[units])
    if problem.upper_bounds is not None:
        upper = np.minimum(upper, problem.upper_bounds[units])
    _check_room(lower, upper, units)
    mass = float(problem.design_weights.sum()) if options.mass == "conserve" else None
    found = Bounds(lower=lower, upper=upper, always=always, mass=mass)
    _check_budget(options.record_budget, found)
    if mass is not None:
        _check_mass(options.record_budget, found, mass)
    return found


def _ratio_floor(options: CalibrationHyperparameters, prior: FloatArray, always: NDArray[np.intp]) -> FloatArray:
    lower = options.floor_ratio * prior
    lower[always] = np.maximum(lower[always], options.protected_floor_ratio * prior[always])
    return lower


def _check_room(lower: FloatArray, upper: FloatArray, units: NDArray[np.intp]) -> None:
    shut = np.flatnonzero(lower > upper)
    if shut.size:
        first = shut[0]
        raise InvalidInput(
            f"unit {units[first]} may weigh {lower[first]:g} at least and {upper[first]:g} at most "
            f"({shut.size} such units): widen weight_bounds, or lower min_weight_ratio",
            pointer="/weight_bounds",
        )


def _check_budget(budget: int | None, bounds: Bounds) -> None:
    available = bounds.lower.size
    if budget is not None and budget > available:
        raise InfeasibleBudget(
            f"record_budget is {budget}, and only {available} units have a positive weight and contribute to a "
            f"target: ask for at most {available}",
            budget=budget,
            available=available,
        )
    if budget is not None and budget < bounds.always.size:
        raise InfeasibleBudget(
            f"record_budget is {budget}, and {bounds.always.size} units are protected: ask for at least as many",
            budget=budget,
            available=int(bounds.always.size),
        )


def _check_mass(budget: int | None, bounds: Bounds, mass: float) -> None:
    k = bounds.lower.size if budget is None else budget
    most, least = _most(bounds, k), _least(bounds, k if budget is not None else bounds.always.size)
    if not least * (1 - _MASS_IS_MET) <= mass <= most * (1 + _MASS_IS_MET):
        reached = f"at most {most:g}" if mass > most else f"at least {least:g}"
        raise InfeasibleBudget(
            f"mass is conserved, so that the weights must sum to {mass:g}, and {k} units within their bounds sum to "
            f"{reached}: allow more units, raise max_weight_ratio, or leave the mass free",
            budget=k,
            available=bounds.lower.size,
        )


def _most(bounds: Bounds, k: int) -> float:
    """Give the largest sum of `k` units, those that always stay among them."""
    return _extreme(bounds.upper, bounds.always, k, largest=True)


def _least(bounds: Bounds, k: int) -> float:
    return _extreme(bounds.lower, bounds.always, k, largest=False)


def _extreme(ends: FloatArray, always: NDArray[np.intp], k: int, *, largest: bool) -> float:
    others = np.sort(np.delete(ends, always))
    room = k - always.size
    chosen = others[others.size - room :] if largest else others[:room]
    return float(ends[always].sum() + chosen.sum())


def able_to_meet_the_mass(
    kept: NDArray[np.intp], bounds: Bounds, usefulness: FloatArray, *, exact: bool
) -> NDArray[np.intp]:
    """Give `kept`, changed so that weights within the bounds can sum to the mass; as many units where `exact`.

    Units with the most room come in, for those with the least where the number is `exact`.
    """
    if bounds.mass is None:
        return kept
    outside = np.setdiff1d(np.arange(bounds.upper.size), kept)
    missing = bounds.mass - float(bounds.upper[kept].sum())
    if missing > 0:
        incoming = outside[np.lexsort((-usefulness[outside], -bounds.upper[outside]))]
        leaving = _leaving(kept, bounds, bounds.upper) if exact else None
        return _exchange(kept, incoming, leaving, bounds.upper, missing)
    surplus = float(bounds.lower[kept].sum()) - bounds.mass
    if surplus > 0:
        incoming = outside[np.lexsort((-usefulness[outside], bounds.lower[outside]))]
        return _exchange(kept, incoming, _leaving(kept, bounds, -bounds.lower), -bounds.lower, surplus)
    return kept


def _exchange(
    kept: NDArray[np.intp],
    incoming: NDArray[np.intp],
    leaving: NDArray[np.intp] | None,
    worth: FloatArray,
    needed: float,
) -> NDArray[np.intp]:
    """Let the first of `incoming` in, one for each of `leaving` where these are given, until `needed` is gained."""
    n = incoming.size if leaving is None else min(incoming.size, leaving.size)
    gained = worth[incoming[:n]] - (0.0 if leaving is None else worth[leaving[:n]])
    gained = gained[gained > 0]  # it falls from one exchange to the next: past 0 the sum would shrink again
    n = min(int(np.searchsorted(np.cumsum(gained), needed)) + 1, gained.size)
    staying = kept if leaving is None else np.setdiff1d(kept, leaving[:n])
    return np.sort(np.concatenate([staying, incoming[:n]]))


def _leaving(kept: NDArray[np.intp], bounds: Bounds, worth: FloatArray) -> NDArray[np.intp]:
    """Give the kept units that may leave, the least worth first."""
    free = np.setdiff1d(kept, bounds.always)
    return free[np.argsort(worth[free], kind="stable")]
