"""Units beyond what the fit can use: so many as are missing, the fit kept, and weights more even than with others."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import lsq_linear

from l0core.arrays import FloatArray
from l0core.calibration import sharing as module
from l0core.calibration.sharing import filled
from l0core.calibration.support import Columns, Positions, Support
from tests.problems import solved


def _columns(seed: int, floor: float = 0.01) -> Columns:
    whole = solved(n_targets=15, n_units=200, seed=seed).problem
    return Columns.of(
        sp.csc_array(whole.matrix) / whole.targets.mean(),
        whole.targets / whole.targets.mean(),
        lower=floor * whole.design_weights,
        upper=np.full(200, np.inf),
        required=np.zeros(200, dtype=bool),
    )


def _evenness(x: FloatArray) -> float:
    return float(x.sum() ** 2 / (x @ x) / x.size)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_the_solution_of_the_ridge(seed: int) -> None:
    """As another solver finds it, under bounds of which some hold."""
    columns, kept = _columns(seed, floor=0.9), np.arange(0, 200, 5)
    x = module._Dual(columns, kept).weights(module._shared(columns, kept, np.zeros(15)))
    rows = columns.some(kept).toarray().T
    augmented = np.vstack([rows, np.sqrt(module._RIDGE) * np.eye(40)])
    bounds = (columns.lower[kept], np.inf)
    other = lsq_linear(augmented, np.r_[columns.goal, np.zeros(40)], bounds=bounds, method="bvls", tol=1e-15).x
    assert (x == columns.lower[kept]).any()
    assert (x > columns.lower[kept]).any()
    assert np.allclose(x, other, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_units_that_come_share_the_weights_better_than_others(seed: int) -> None:
    columns = _columns(seed)
    few = Support.empty(columns).plus(columns, np.arange(30), columns.lower[:30]).fitted(columns, columns.lower[:30])
    chosen = filled(columns, few, 60, lambda: False)
    others = np.random.default_rng(seed).choice(np.setdiff1d(np.arange(200), chosen.kept), 30, replace=False)
    kept = np.r_[few.kept, others]
    at_random = module._Dual(columns, kept).weights(module._shared(columns, kept, few.residual(columns.goal)))
    assert chosen.kept[:30].tolist() == few.kept.tolist()
    assert np.unique(chosen.kept).size == 60
    assert chosen.loss(columns.goal) < 1e-6 * float(columns.goal @ columns.goal)
    assert _evenness(chosen.x) > 1.1 * _evenness(at_random)


def test_told_to_stop_it_adds_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, sizes, shared = _columns(0), list[int](), module._shared

    def counted(columns: Columns, kept: Positions, residual: FloatArray) -> FloatArray:
        sizes.append(kept.size)
        return shared(columns, kept, residual)

    monkeypatch.setattr(module, "_shared", counted)
    assert np.unique(filled(columns, Support.empty(columns), 60, lambda: True).kept).size == 60
    assert sizes == [0, 60]
