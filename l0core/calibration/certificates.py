"""Proofs that some totals cannot be met together (Farkas' lemma), and the search for a short one.

For any v, sum_i v_i (A w)_i = sum_j (A'v)_j w_j. If over all allowed weights the right side stays below sum_i v_i b_i,
no weights meet A w = b. A small linear program over few rows finds the v of the widest gap; whatever it answers, the
proof is checked afresh.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import FloatArray

Rows = NDArray[np.int64]
MEETS = 1e-6  # totals that can be met together but for this relative difference count as met
_ROUNDING = 1e-9  # of sum_i |v_i A_ij|: a column's slope below this is no slope
_DUAL_TOLERANCE, _PRIMAL_TOLERANCE = 1e-10, 1e-9  # of the linear program
_SMALLEST_SET = 2  # what is wrong with one target alone has findings of its own
_FIRST_COLUMNS, _MORE_COLUMNS, _ROUNDS = 256, 64, 60


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rows of a problem over lower <= w <= upper: A w = b is asked for. `tolerance` (> 0) is what 1 means in a row."""

    matrix: sp.csr_array | sp.csc_array
    goal: FloatArray
    lower: FloatArray
    upper: FloatArray
    tolerance: FloatArray

    def rows(self, kept: Rows) -> "Box":
        """Give some of the rows, and of the units those that count in them."""
        matrix = sp.csc_array(self.matrix[kept])
        used = np.flatnonzero(np.diff(matrix.indptr))
        return Box(
            matrix=matrix[:, used],
            goal=self.goal[kept],
            lower=self.lower[used],
            upper=self.upper[used],
            tolerance=self.tolerance[kept],
        )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Whatever the weights, sum_i `multipliers`_i (A w)_i <= `limit`, and the goal needs `needed` > `limit`.

    `gap` is (needed - limit) / sum_i |v_i| tolerance_i: if every goal of the rows moved by this many of its tolerances,
    the goals might be met; by less they cannot be.
    """

    rows: Rows
    multipliers: FloatArray
    limit: float
    needed: float
    gap: float


def proof(box: Box, multipliers: FloatArray) -> tuple[float, float]:
    """Give (limit, needed) of these multipliers: max of (A'v)'w over the box, and v'b.

    The limit is infinite as soon as a unit without an upper bound has a positive slope.

    >>> upper, lower = np.full(1, np.inf), np.zeros(1)
    >>> matrix, goal = sp.csr_array([[1.0], [2.0]]), np.array([1.0, 3.0])
    >>> box = Box(matrix=matrix, goal=goal, lower=lower, upper=upper, tolerance=np.ones(2))
    >>> proof(box, np.array([-2.0, 1.0]))
    (0.0, 1.0)
    """
    slopes = _slopes(box, multipliers)
    ends = np.where(slopes > 0, box.upper, box.lower)
    with np.errstate(invalid="ignore"):
        reached = np.where(slopes == 0, 0.0, slopes * ends)
    return float(reached.sum()), float(multipliers @ box.goal)


def certificate(box: Box, rows: Rows) -> Certificate | None:
    """Give the proof of the widest gap among some rows, None where they can be met together (to 1e-6) or it fails."""
    part = box.rows(rows)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # such numbers end in no proof
        multipliers = _widest(part)
        return None if multipliers is None else _checked(part, rows, multipliers)


def shortened(box: Box, found: Certificate, *, share: float = 0.5) -> Certificate:
    """Leave out rows, the least telling first, as long as a proof of at least this share of the gap remains."""
    part, best = box.rows(found.rows), replace(found, rows=np.arange(found.rows.size))
    for row in np.argsort(np.abs(found.multipliers) * part.tolerance, kind="stable"):
        if best.rows.size <= _SMALLEST_SET or row not in best.rows:
            continue
        shorter = certificate(part, best.rows[best.rows != row])
        if shorter is not None and shorter.gap >= share * found.gap:
            best = shorter
    return replace(best, rows=found.rows[best.rows])


def _slopes(box: Box, multipliers: FloatArray) -> FloatArray:
    """Give A'v, with what rounding alone can have left taken for 0."""
    slopes = np.asarray(box.matrix.T @ multipliers)
    sizes = np.asarray(abs(box.matrix).T @ np.abs(multipliers))
    return np.where(np.abs(slopes) <= _ROUNDING * sizes, 0.0, slopes)


def _checked(part: Box, rows: Rows, multipliers: FloatArray) -> Certificate | None:
    telling = np.abs(multipliers) * part.tolerance > _ROUNDING * (np.abs(multipliers) * part.tolerance).max()
    kept = np.flatnonzero(telling)
    few, v = part.rows(kept), multipliers[kept]
    limit, needed = proof(few, v)
    unit = float(np.abs(v) @ few.tolerance)  # 0 where no multiplier is a number to work with
    gap = (needed - limit) / unit if unit > 0 else 0.0
    if not MEETS < gap < np.inf:
        return None
    return Certificate(rows=rows[kept], multipliers=v, limit=limit, needed=needed, gap=gap)


def _widest(part: Box) -> FloatArray | None:
    """Give the multipliers of the widest gap: duals of the smallest t with |A w - b| <= t tolerance.

    Columns are brought in as the multipliers ask for them; None where the rows can be met.
    """
    columns = _first_columns(part)
    for _ in range(_ROUNDS):
        multipliers = _against_some(part, columns)
        if multipliers is None:
            return None
        wanted = _wanted(part, multipliers, columns)
        if not wanted.size:
            return multipliers
        columns = np.sort(np.concatenate([columns, wanted]))
    return None


def _first_columns(part: Box) -> Rows:
    return np.unique(np.linspace(0, part.lower.size - 1, min(_FIRST_COLUMNS, part.lower.size)).astype(np.int64))


def _wanted(part: Box, multipliers: FloatArray, columns: Rows) -> Rows:
    """Give the columns, not there yet, whose weight would narrow the gap most."""
    slopes, sizes = _slopes(part, multipliers), np.asarray(abs(part.matrix).T @ np.abs(multipliers))
    steepness = np.where((slopes > 0) & (part.upper > part.lower), slopes / sizes, 0.0)
    steepness[columns] = 0.0
    steepest = np.argsort(-steepness, kind="stable")[:_MORE_COLUMNS]
    return steepest[steepness[steepest] > 0]


def _against_some(part: Box, columns: Rows) -> FloatArray | None:
    """Give the dual of the smallest t over the columns' weights, the others at their lower bounds: dt/db.

    None where t is next to 0, or the numbers are beyond what a solver can take.
    """
    near_one = _near_one(part, columns)
    if not (np.isfinite(near_one.matrix).all() and np.isfinite(near_one.goal).all()):
        return None
    dual = _dual(near_one)
    return dual / part.tolerance if dual.any() else None


@dataclass(frozen=True, kw_only=True)
class _NearOne:
    """A part of a box with rows divided by their tolerance and columns by their largest entry."""

    matrix: FloatArray
    goal: FloatArray
    lower: FloatArray
    upper: FloatArray


def _near_one(part: Box, columns: Rows) -> _NearOne:
    rest = part.lower.copy()
    rest[columns] = 0.0
    scaled = part.matrix[:, columns].toarray() / part.tolerance[:, None]
    sizes = np.abs(scaled).max(axis=0)
    return _NearOne(
        matrix=scaled / sizes,
        goal=(part.goal - part.matrix @ rest) / part.tolerance,
        lower=part.lower[columns] * sizes,
        upper=part.upper[columns] * sizes,
    )


def _dual(box: _NearOne) -> FloatArray:
    """Solve min t with |A w - b| <= t over the box and give dt/db; 0 where t is next to 0 or the solver fails."""
    from scipy.optimize import linprog  # noqa: PLC0415 - a third of a second that few runs need

    ones = np.ones((box.goal.size, 1))
    solved = linprog(
        np.append(np.zeros(box.lower.size), 1.0),
        A_ub=np.block([[-box.matrix, -ones], [box.matrix, -ones]]),
        b_ub=np.concatenate([-box.goal, box.goal]),
        bounds=[*zip(box.lower.tolist(), box.upper.tolist(), strict=True), (0.0, None)],
        method="highs",
        options={
            "dual_feasibility_tolerance": _DUAL_TOLERANCE,
            "primal_feasibility_tolerance": _PRIMAL_TOLERANCE,
        },
    )
    if solved.fun is None or solved.fun <= MEETS:
        return np.zeros(box.goal.size)
    below, above = np.split(np.asarray(solved.ineqlin.marginals), 2)
    dual: FloatArray = above - below
    return dual
