"""What is found while a job is prepared, before any unit is chosen: what the bounds forbid, and what no weights can do.

Beside the structural findings of the problem itself (`findings`), which need no hyperparameters.
"""

from dataclasses import dataclass

import numpy as np

from l0core.calibration.conflicts import conflicting_set, ratio_conflicts
from l0core.calibration.dense import DenseOptimum, dense_optimum, is_affordable
from l0core.calibration.objective import Objective
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.reach import out_of_reach
from l0core.findings import Finding, in_short

_CANNOT_BE_MET = 1e-4  # mean squared error of the dense optimum: below it conflicts are rounding


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """The findings of a preparation, and the dense optimum where it was affordable."""

    findings: tuple[Finding, ...]
    dense: DenseOptimum | None


def doubts(problem: CalibrationProblem, objective: Objective, options: CalibrationHyperparameters) -> Doubts:
    """Look for all of them. Cost: passes over the nonzeros, and the dense optimum unless it is too large."""
    candidates = np.zeros(problem.n_units, dtype=np.bool_)
    candidates[objective.units] = True
    found = [*_beyond_the_bounds(problem, objective, options), *ratio_conflicts(problem, candidates=candidates)]
    skipped = is_affordable(objective)
    if skipped is not None:
        return Doubts(findings=tuple(in_short([*found, skipped])), dense=None)
    dense = dense_optimum(objective)
    known = [finding.index for finding in (*problem.findings, *found) if finding.severity == "error"]
    conflict = _conflict(problem, objective, dense, [index for index in known if index is not None])
    return Doubts(findings=tuple(in_short([*found, *conflict])), dense=dense)


def _beyond_the_bounds(
    problem: CalibrationProblem, objective: Objective, options: CalibrationHyperparameters
) -> list[Finding]:
    """Give targets out of reach under the bounds that hyperparameters add to the problem's own."""
    if options.max_weight_ratio is None:
        return []
    upper = np.zeros(problem.n_units)
    upper[objective.units] = objective.bounds.upper
    return out_of_reach(problem, None, upper, known=problem.findings)


def _conflict(
    problem: CalibrationProblem, objective: Objective, dense: DenseOptimum, known: list[int]
) -> list[Finding]:
    if float((dense.errors**2).mean()) <= _CANNOT_BE_MET**2:
        return []
    found = conflicting_set(
        [problem.names[row] for row in objective.rows],
        objective.rows,
        objective.columns(np.arange(objective.n_candidates)),
        objective.goal,
        np.zeros(objective.n_candidates),
        objective.bounds.upper,
        -dense.errors * np.sqrt(objective.omega),
        row_scale=objective.factor,
        known=known,
    )
    return [] if found is None else [found]
