"""How well weights meet totals they were not fitted to: each family of targets left out whole, once.

Targets of one family lean on one another (the bands of one table sum to its total), so that single targets left out
are half known from their neighbours; a whole family is not. `docs/rotated-holdout.md` has an example.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from l0core import arrays
from l0core.arrays import Axis, FloatArray
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import RunContext
from l0core.errors import InvalidHyperparameter, InvalidInput, L0Error, ShapeMismatch
from l0core.progress import bar_if
from l0core.scalars import flag, whole

Fit = Callable[[CalibrationProblem], FloatArray]
"""N weights for a problem, made from its targets that are not held out."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Absolute relative errors of `n` targets in three numbers."""

    n: int
    mean: float
    median: float
    max: float

    @classmethod
    def of(cls, errors: FloatArray) -> "Errors":
        """Sum up errors of either sign.

        >>> Errors.of(np.array([-0.1, 0.2, 0.6]))
        Errors(n=3, mean=0.3, median=0.2, max=0.6)
        """
        size = np.abs(errors)
        mean, median = float(np.mean(size)), float(np.median(size))
        return cls(n=size.size, mean=mean, median=median, max=float(size.max()))


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """One family left out: its targets (positions) and their relative errors under design weights and fitted ones."""

    family: str
    targets: NDArray[np.intp]
    initial_relative_errors: FloatArray
    relative_errors: FloatArray
    n_active: int

    @property
    def before(self) -> Errors:
        """The family under the design weights."""
        return Errors.of(self.initial_relative_errors)

    @property
    def after(self) -> Errors:
        """The family under weights that were fitted to the others."""
        return Errors.of(self.relative_errors)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """All left-out targets together; the standard errors are of the mean, None for a single family."""

    n_families: int
    before: Errors
    after: Errors
    standard_error_before: float | None
    standard_error_after: float | None


def rotated_holdout(
    problem: CalibrationProblem,
    hyperparameters: CalibrationHyperparameters | None = None,
    *,
    families: Sequence[str] | None = None,
    fit: Fit | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> list[Rotation]:
    """Give the errors of every family of targets, left out whole while the others are fitted; `pooled` sums them up.

    `families` names each target's family (default: the numbers of the problem's groups); they come in the order of
    their first target. The fit is a calibration under `hyperparameters` (default: the defaults) with `seed`, or `fit`
    instead of both: a function that gives N weights for a problem, so that a baseline stands the same test. Targets
    the problem holds out stay out of every fit, and of the errors: they are for a last look. Multipliers of a group
    that is left out whole are dropped for that fit. Cost: a fit a family. `verbose` shows a progress bar.

    Raises InvalidInput where leaving a family out leaves no target, before any fit, and what the fit raises, with a
    note that names the family.

    >>> problem = CalibrationProblem.build([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]], [4.0, 4.0, 6.0])
    >>> [r.after.max for r in rotated_holdout(problem, families=["all", "part", "part"], fit=lambda p: np.full(2, 3.0))]
    [0.5, 0.5]
    """
    if fit is not None and hyperparameters is not None:
        raise InvalidHyperparameter("hyperparameters and fit are both given: fit has its own; leave one out")
    used = fit or _Calibration(
        hyperparameters=hyperparameters or CalibrationHyperparameters(), seed=whole(seed, name="seed", at_least=0)
    )
    turns = list(_turns(problem, _families(problem, families)))
    rotations = list[Rotation]()
    with bar_if(flag(verbose, name="verbose"), "rotated_holdout", len(turns)) as advance:
        for done, (family, targets, without) in enumerate(turns):
            advance(done, family)
            rotations.append(_rotation(without, family, targets, used))
        advance(len(turns), f"{len(turns)} families")
    return rotations


def pooled(rotations: Sequence[Rotation]) -> Pooled:
    """Give the errors of all left-out targets together, each target counting once.

    The standard errors of the means take families as clusters: sqrt(F / (F - 1) sum_f (sum_i (e_i - mean))^2) / n
    over the targets i of family f, since one fit makes all errors of a family.

    >>> turn = {"targets": np.arange(1), "initial_relative_errors": np.ones(1), "n_active": 1}
    >>> turns = [Rotation(family=str(e), relative_errors=np.array([e]), **turn) for e in (0.1, -0.3)]
    >>> round(pooled(turns).after.mean, 9), round(pooled(turns).standard_error_after, 9)
    (0.2, 0.1)
    """
    if not rotations:
        raise InvalidInput("rotations is empty: give at least one family's", pointer="/rotations")
    before, after = [r.initial_relative_errors for r in rotations], [r.relative_errors for r in rotations]
    return Pooled(
        n_families=len(rotations),
        before=Errors.of(np.concatenate(before)),
        after=Errors.of(np.concatenate(after)),
        standard_error_before=_standard_error(before),
        standard_error_after=_standard_error(after),
    )


def _standard_error(errors: list[FloatArray]) -> float | None:
    clusters, sizes = len(errors), np.abs(np.concatenate(errors))
    if clusters == 1:
        return None
    sums = np.array([float(np.abs(some).sum()) - some.size * float(sizes.mean()) for some in errors])
    return float(np.sqrt(clusters / (clusters - 1) * (sums @ sums)) / sizes.size)


def _families(problem: CalibrationProblem, families: Sequence[str] | None) -> list[str]:
    """Give each target's family."""
    if families is None:
        if problem.groups is None:
            raise InvalidInput(
                "the problem has no target_groups: give families, one name a target", pointer="/families"
            )
        return [str(group) for group in problem.groups]
    if isinstance(families, str) or len(families) != problem.n_targets:
        raise ShapeMismatch(
            f"families has {len(families)} names; the problem has {problem.n_targets} targets, one name each",
            pointer="/families",
        )
    return [str(family) for family in families]


def _turns(
    problem: CalibrationProblem, families: list[str]
) -> Iterator[tuple[str, NDArray[np.intp], CalibrationProblem]]:
    """Yield each family with a target in the fit, these targets, and the problem that holds them out."""
    fitted, member = ~problem.holdout, np.array(families)
    for family in dict.fromkeys(families):
        left_out = fitted & (member == family)
        if (left_out == fitted).all():
            raise InvalidInput(
                f"leaving out family '{family}' leaves no target of {int(fitted.sum())}: give two families at least",
                pointer="/families",
            )
        if left_out.any():
            yield family, np.flatnonzero(left_out), replace(problem, holdout=problem.holdout | left_out)


def _rotation(problem: CalibrationProblem, family: str, targets: NDArray[np.intp], fit: Fit) -> Rotation:
    try:
        weights = _checked(fit(problem), problem.n_units)
    except L0Error as error:
        error.add_note(f"family '{family}' was left out")
        raise
    before, after = (problem.relative_errors(problem.estimates(w)) for w in (problem.design_weights, weights))
    return Rotation(
        family=family,
        targets=targets,
        initial_relative_errors=before[targets],
        relative_errors=after[targets],
        n_active=int((weights > 0).sum()),
    )


def _checked(weights: FloatArray, n: int) -> FloatArray:
    axis = Axis(length=n, noun="units of the problem")
    return arrays.vector(weights, name="weights of fit", axis=axis, rule=lambda w: w >= 0, need="must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    """A job as a fit."""

    hyperparameters: CalibrationHyperparameters
    seed: int

    def __call__(self, problem: CalibrationProblem) -> FloatArray:
        result = run(problem, _without_lost_groups(problem, self.hyperparameters), RunContext(seed=self.seed))
        if not isinstance(result, CalibrationResult):
            raise TypeError("a run that nobody stops has a result")
        return result.weights


def _without_lost_groups(
    problem: CalibrationProblem, options: CalibrationHyperparameters
) -> CalibrationHyperparameters:
    """Drop the multipliers of groups whose every target is held out: a job refuses those."""
    if problem.groups is None or not options.group_multipliers:
        return options
    lost = {str(group) for group in np.setdiff1d(problem.groups, problem.groups[~problem.holdout])}
    kept = {group: factor for group, factor in options.group_multipliers.items() if group not in lost}
    return options.model_copy(update={"group_multipliers": kept})
