"""What to hold a calibration against: other ways to choose k units, and what no choice of units can beat.

Each is one call with the problem and the hyperparameters of the job it is compared with: the same targets, loss, bounds
and mass, the same refit. `docs/baselines.md` says when to use which. Read `rotation` next: it leaves targets out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import scipy.optimize as so
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from l0core.arrays import FloatArray
from l0core.calibration import diagnostics
from l0core.calibration.bounds import Bounds, able_to_meet_the_mass
from l0core.calibration.losses import SQUARED
from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.refit import RefitProblem, refit
from l0core.errors import InfeasibleBudget, InvalidHyperparameter, InvalidInput
from l0core.scalars import choice, whole

Method = Literal["random", "pps", "pps_refit", "dense", "vertex", "proximal_l1"]
OF_THEIR_OWN_SIZE = ("dense", "vertex")

_LEAST = 1e-6  # of the design weight: what a kept unit weighs at least when the refit takes it up
_CERTAIN = 1 - 1e-9  # an inclusion probability above this is 1: two draws must not fall on one unit by rounding
_VERTEX_TARGETS = 2_000  # 14 s at 1,000, and eight times that for twice as many
_AT_ONCE = 4  # columns that enter a round of the vertex, in units of the targets
_NO_PULL = 1e-12  # of the goal: a correlation as small as this is rounding
_HALVINGS = 20  # of the range of prices, in its logarithm
_PRICES = 1e-8  # the lowest price, in units of the one that keeps nobody
_STEPS = 200  # proximal steps at each price, from the solution for the price before
_POWERS = 100  # products for the largest singular value
_MARGIN = 1.05  # they give it from below


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The N weights a method gives, and how good they are: `summary` is a job's, but for what a selection adds."""

    method: Method
    weights: FloatArray
    summary: dict[str, Any]


def baseline(
    problem: CalibrationProblem,
    method: Method,
    *,
    count: int | None = None,
    hyperparameters: CalibrationHyperparameters | None = None,
    seed: int = 0,
) -> Baseline:
    """Give what `method` makes of the problem, with exactly `count` units (default: the record budget).

    - `random`: a simple random subset, then the refit
    - `pps`: a subset drawn in proportion to the dense weights w, each weighing w / pi; `pps_refit`: then the refit
    - `proximal_l1`: the units a price on the weights leaves positive, then the refit
    - `dense`: every unit may stay, the convex optimum; `vertex`: non-negative least squares with as few units as its
      rank. They set their own size and take no `count`.

    Protected units are always kept. Of the hyperparameters those of loss, bounds, mass and refit hold; those of the
    selection, `lambda_l0` and `lambda_share` among them, say nothing here. With `refit` false, `random` gives
    d N / count and `proximal_l1` its shrunken weights. The raw `pps` keeps the mass and no other bound.

    Raises InfeasibleBudget where `count` cannot be met and InvalidHyperparameter where the method cannot do what is
    asked for, with what it can.

    >>> problem = CalibrationProblem.build([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]], [6.0, 9.0])
    >>> found = baseline(problem, "vertex")
    >>> found.weights.round(9).tolist(), found.summary["n_active"]
    ([1.5, 0.0, 4.5], 2)
    >>> baseline(problem, "random", count=1, seed=1).summary["n_active"]
    1
    """
    choice(method, name="method", choices=get_args(Method))
    options = _sized(method, count, hyperparameters or CalibrationHyperparameters())
    rng = np.random.default_rng(whole(seed, name="seed", at_least=0))
    with threadpool_limits(1, user_api="blas"):  # on more it adds in another order
        objective = prepare(problem, options)
        found = _METHODS[method](_Case(objective=objective, options=options, rng=rng))
    weights = objective.dense(found)
    summary = diagnostics.summarise(diagnostics.target_fit(problem, weights), weights)
    return Baseline(method=method, weights=weights, summary=summary | {"loss": objective.loss(found)})


def _sized(method: Method, count: int | None, options: CalibrationHyperparameters) -> CalibrationHyperparameters:
    """Give the hyperparameters with `count` as the one control of the size."""
    if method in OF_THEIR_OWN_SIZE:
        if count is not None:
            raise _refused("count", f"count is {count}, and '{method}' sets its own size: leave it out")
    else:
        count = whole(options.record_budget if count is None else count, name="count")
        if options.record_budget not in (None, count):
            raise _refused("count", f"count is {count}, and record_budget {options.record_budget}: give one of the two")
        if options.min_weight_ratio == 0:
            raise _refused("min_weight_ratio", "min_weight_ratio is 0, at which units of the count fall to 0: raise it")
    return options.model_copy(update={"lambda_l0": None, "lambda_share": None, "record_budget": count})


def _refused(name: str, message: str) -> InvalidHyperparameter:
    return InvalidHyperparameter(message, pointer=f"/{name}" if name == "count" else f"/hyperparameters/{name}")


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What a method works on; it gives weights of the candidates."""

    objective: Objective
    options: CalibrationHyperparameters
    rng: np.random.Generator

    @property
    def count(self) -> int:
        return self.options.record_budget or self.objective.n_candidates

    @property
    def free(self) -> NDArray[np.intp]:
        """The candidates that need not stay."""
        return np.setdiff1d(np.arange(self.objective.n_candidates), self.objective.bounds.always)

    @property
    def relaxed(self) -> Bounds:
        """The bounds of units that may all have weight 0, protected ones aside."""
        bounds = self.objective.bounds
        lower = np.zeros_like(bounds.lower)
        lower[bounds.always] = bounds.lower[bounds.always]
        return replace(bounds, lower=lower)

    def only(self, kept: NDArray[np.intp], weights: FloatArray) -> FloatArray:
        """Give the weights of `kept`, and 0 for the others."""
        found = np.zeros(self.objective.n_candidates)
        found[kept] = weights[kept]
        return found

    def fitted(self, kept: NDArray[np.intp], bounds: Bounds, start: FloatArray) -> FloatArray:
        """Give the best weights of `kept` within `bounds` (of all candidates), 0 for the others."""
        objective, found = self.objective, np.zeros(self.objective.n_candidates)
        frozen = RefitProblem(
            matrix=objective.columns(kept),
            goal=objective.goal,
            bounds=bounds.of(kept),
            omega=objective.omega,
            cost=objective.cost,
            ridge=None if objective.ridge is None else objective.ridge[kept],
        )
        found[kept] = refit(frozen, start[kept])
        return found

    def refitted(self, kept: NDArray[np.intp], start: FloatArray, usefulness: FloatArray) -> FloatArray:
        """Give what the refit of a job makes of `kept`: as many units, others where the mass asks for them."""
        bounds = self.objective.bounds
        able = able_to_meet_the_mass(kept, bounds, usefulness, exact=True)
        return self.fitted(able, bounds, np.maximum(start, _LEAST * self.objective.prior))


def _random(case: _Case) -> FloatArray:
    drawn = case.count - case.objective.bounds.always.size
    shuffled = case.rng.permutation(case.free)
    kept = np.sort(np.concatenate([case.objective.bounds.always, shuffled[:drawn]]))
    expanded = case.objective.prior.copy()
    expanded[case.free] *= shuffled.size / max(1, drawn)
    if not case.options.refit:
        return case.only(kept, expanded)
    return case.refitted(kept, expanded, case.rng.random(expanded.size))


def _dense(case: _Case) -> FloatArray:
    return case.fitted(np.arange(case.objective.n_candidates), case.relaxed, case.objective.prior)


def _pps(case: _Case) -> FloatArray:
    return case.only(*_drawn_by_size(case, _dense(case)))


def _pps_refit(case: _Case) -> FloatArray:
    if not case.options.refit:
        raise _refused("refit", "refit is false, and 'pps_refit' ends with one: ask for 'pps'")
    dense = _dense(case)
    return case.refitted(*_drawn_by_size(case, dense), dense)


def _drawn_by_size(case: _Case, sizes: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Give who is drawn, and everybody's weight if drawn: size over inclusion probability."""
    available = int((sizes > 0).sum())
    if available < case.count:
        raise InfeasibleBudget(
            f"count is {case.count}, and the dense optimum uses {available} units, from whom 'pps' draws: ask for at "
            f"most {available}",
            budget=case.count,
            available=available,
        )
    chance = inclusion_probabilities(sizes, case.count, certain=case.objective.bounds.always)
    expanded = np.divide(sizes, chance, out=np.zeros_like(sizes), where=chance > 0)
    return systematic(chance, case.rng), expanded


def inclusion_probabilities(sizes: FloatArray, count: int, *, certain: NDArray[np.intp]) -> FloatArray:
    """Give pi proportional to `sizes` with sum `count`; units that would pass 1, and those `certain`, have 1.

    `sizes` (0 or more) must have `count` positive ones. What comes within 1e-9 of 1 is 1.

    >>> inclusion_probabilities(np.array([1.0, 1.0, 2.0, 9.0]), 2, certain=np.zeros(0, np.intp)).tolist()
    [0.25, 0.25, 0.5, 1.0]
    """
    sure = np.zeros(sizes.size, np.bool_)
    sure[certain] = True
    while True:
        left, total = count - int(sure.sum()), float(sizes[~sure].sum())
        chance = np.where(sure, 1.0, sizes / total * left if left else 0.0)
        passing = ~sure & (chance >= _CERTAIN)
        if not passing.any():
            return chance
        sure |= passing


def systematic(chance: FloatArray, rng: np.random.Generator) -> NDArray[np.intp]:
    """Give a sample with these inclusion probabilities, of their sum exactly, in order (Madow 1949, shuffled first).

    >>> systematic(np.array([1.0, 0.5, 0.0, 0.5]), np.random.default_rng(0)).tolist()
    [0, 3]
    """
    certain, others = np.flatnonzero(chance == 1), np.flatnonzero((chance > 0) & (chance < 1))
    count = round(float(chance[others].sum()))
    if not count:
        return certain
    shuffled = rng.permutation(others)
    reached = np.cumsum(chance[shuffled])
    passed = np.minimum(np.floor(reached * (count / reached[-1]) - (1 - rng.random())), count - 1)
    passed[-1] = count - 1  # whatever the sum was rounded to
    return np.sort(np.concatenate([certain, shuffled[np.diff(passed, prepend=-1) > 0]]))


def _vertex(case: _Case) -> FloatArray:
    _check_least_squares(case)
    floor = case.relaxed.lower
    columns = sp.csc_array(case.objective.columns(np.arange(floor.size)))
    return np.asarray(floor + least_squares_vertex(columns, case.objective.goal - columns @ floor))


def _check_least_squares(case: _Case) -> None:
    """Refuse what non-negative least squares cannot do."""
    objective, bounds = case.objective, case.objective.bounds
    if objective.cost is not SQUARED:
        raise _refused("loss", "loss is absolute, and 'vertex' is least squares: give 'relative' or 'squared'")
    if objective.ridge is not None:
        raise _refused(
            "lambda_l2", "lambda_l2 or lambda_spread is above 0, and 'vertex' prices no weight: leave it out"
        )
    bounded = np.isfinite(bounds.upper).any() or np.delete(bounds.lower, bounds.always).any()
    if bounded or bounds.mass is not None:
        raise _refused(
            "mass", "bounds or a mass are given, and 'vertex' keeps weights at 0 or more only: ask for 'dense'"
        )
    if objective.rows.size > _VERTEX_TARGETS:
        raise InvalidInput(
            f"the fit has {objective.rows.size} targets, and 'vertex' takes minutes above {_VERTEX_TARGETS}: ask for "
            "'dense', or hold targets out",
            pointer="/targets",
        )


def least_squares_vertex(columns: sp.csc_array, goal: FloatArray) -> FloatArray:
    """Give x >= 0 with the least ||columns x - goal|| whose positive entries stand at independent columns.

    Lawson and Hanson's active sets (1974) over the columns that correlate most with the residual, until none outside
    would lower it. Cost: Q steps of up to Q x 5 Q, 14 s at Q = 1,000; memory 80 Q^2 bytes.

    >>> least_squares_vertex(sp.csc_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), np.array([2.0, 2.0])).round(9).tolist()
    [0.0, 2.0, 0.0]
    """
    scaled, length = _unit_columns(columns)
    x, before, size = np.zeros(length.size), np.inf, float(np.linalg.norm(goal))
    while True:
        pull = np.where(x > 0, 0.0, scaled.T @ (goal - scaled @ x))
        entering = np.argsort(-pull, kind="stable")[: _AT_ONCE * goal.size]
        entering = entering[pull[entering] > _NO_PULL * size]
        if not entering.size:
            return np.asarray(x / length)
        working = np.union1d(np.flatnonzero(x), entering)
        part, residual = so.nnls(scaled[:, working].toarray(), goal, maxiter=10 * working.size)
        if residual >= before:
            return np.asarray(x / length)
        before, x = residual, np.zeros(length.size)
        x[working] = part


def _unit_columns(columns: sp.csc_array) -> tuple[sp.csc_array, FloatArray]:
    """Give the columns at length 1, and their lengths (1 for an empty one)."""
    length = np.sqrt(np.asarray((columns**2).sum(axis=0)))
    length = np.where(length > 0, length, 1.0)
    return sp.csc_array(columns @ sp.diags_array(1 / length)), length


def _proximal_l1(case: _Case) -> FloatArray:
    bounds, size = case.objective.bounds, case.objective.n_candidates
    scaled, length = _unit_columns(sp.csc_array(case.objective.columns(np.arange(size))))
    v = _about(case.count, _Lasso.of(scaled, case.objective.goal, free_of_charge=bounds.always))
    pull = scaled.T @ (case.objective.goal - scaled @ v)
    ranked = np.lexsort((-pull, -v, ~np.isin(np.arange(size), bounds.always)))
    kept, shrunken = np.sort(ranked[: case.count]), v / length
    if case.options.refit:
        return case.refitted(kept, shrunken, v)
    return case.only(kept, np.maximum(shrunken, np.maximum(bounds.lower, _LEAST * case.objective.prior)))


def _about(count: int, lasso: "_Lasso") -> FloatArray:
    """Give the solution for the price that leaves `count` units positive, or as few more as the halvings find.

    Where no price leaves so many, the solution with the most.
    """
    v, enough, most = np.zeros(lasso.costs.size), None, np.zeros(lasso.costs.size)
    low, high = np.log(_PRICES), 0.0
    for _ in range(_HALVINGS):
        v = lasso.solve(float(np.exp((low + high) / 2)), v)
        found = np.count_nonzero(v)
        if found >= count:
            low, enough = (low + high) / 2, v if enough is None or found < np.count_nonzero(enough) else enough
        else:
            high, most = (low + high) / 2, v if found > np.count_nonzero(most) else most
        if found == count:
            break
    return most if enough is None else enough


@dataclass(frozen=True, kw_only=True)
class _Lasso:
    """1/2 ||A v - b||^2 + price costs'v over v >= 0, columns of length 1; at price 1 and above nobody stays."""

    matrix: sp.csc_array
    goal: FloatArray
    costs: FloatArray
    step: float

    @classmethod
    def of(cls, matrix: sp.csc_array, goal: FloatArray, *, free_of_charge: NDArray[np.intp]) -> "_Lasso":
        costs = np.full(matrix.shape[1], float(np.abs(matrix.T @ goal).max()))
        costs[free_of_charge] = 0.0
        return cls(matrix=matrix, goal=goal, costs=costs, step=1 / (_MARGIN * _largest_eigenvalue(matrix)))

    def solve(self, price: float, start: FloatArray) -> FloatArray:
        """Take accelerated proximal steps (Beck and Teboulle 2009), begun anew where they turn back."""
        v, ahead, t = start, start, 1.0
        for _ in range(_STEPS):
            slope = self.matrix.T @ (self.matrix @ ahead - self.goal) + price * self.costs
            new = np.maximum(ahead - self.step * slope, 0.0)
            t = 1.0 if (ahead - new) @ (new - v) > 0 else t
            after = (1 + np.sqrt(1 + 4 * t**2)) / 2
            v, ahead, t = new, new + (t - 1) / after * (new - v), after
        return v


def _largest_eigenvalue(matrix: sp.csc_array) -> float:
    """Give that of A'A, from below, by powers."""
    v, size = np.ones(matrix.shape[1]), 1.0
    for _ in range(_POWERS):
        v = matrix.T @ (matrix @ (v / np.linalg.norm(v)))
        size = float(np.linalg.norm(v))
    return size


_METHODS: dict[Method, Callable[[_Case], FloatArray]] = {
    "random": _random,
    "pps": _pps,
    "pps_refit": _pps_refit,
    "dense": _dense,
    "vertex": _vertex,
    "proximal_l1": _proximal_l1,
}
