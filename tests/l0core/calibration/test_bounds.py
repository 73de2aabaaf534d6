"""Bounds and mass: the projection is the nearest point, and the exchange for the mass keeps the count."""

import numpy as np
import pytest

from l0core.calibration.bounds import Bounds, able_to_meet_the_mass


@pytest.mark.parametrize("seed", range(60))
def test_no_allowed_point_is_nearer_than_the_projection(seed: int) -> None:
    """A point p is the nearest of a convex set when (x - p)(w - p) <= 0 for every x in it."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    lower = rng.random(n) * (rng.random(n) < 0.5)
    upper = lower + rng.random(n)
    inside = rng.uniform(lower, upper)
    bounds = Bounds(lower=lower, upper=upper, always=np.arange(0), mass=float(inside.sum()))
    given = rng.normal(0.5, 2.0, n)
    nearest = bounds.project(given)
    assert ((lower <= nearest) & (nearest <= upper)).all()
    assert nearest.sum() == pytest.approx(inside.sum(), rel=1e-11)
    assert (inside - nearest) @ (given - nearest) <= 1e-9
    for _ in range(50):
        other = bounds.project(rng.normal(0.5, 2.0, n))
        assert (other - nearest) @ (given - nearest) <= 1e-9


@pytest.mark.parametrize("seed", range(60))
def test_the_exchange_for_the_mass_keeps_the_count_and_protected_units(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 20
    k, upper, always = int(rng.integers(3, 15)), rng.random(n) + 0.1, np.array([1, 2])
    kept = np.sort(np.concatenate([always, rng.permutation(np.setdiff1d(np.arange(n), always))[: k - 2]]))
    most = float(upper[always].sum() + np.sort(np.delete(upper, always))[::-1][: k - 2].sum())
    mass = most * rng.uniform(0.5, 1.0)
    bounds = Bounds(lower=np.zeros(n), upper=upper, always=always, mass=mass)
    found = able_to_meet_the_mass(kept, bounds, rng.random(n), exact=True)
    assert np.unique(found).size == k
    assert np.isin(always, found).all()
    assert upper[found].sum() >= mass * (1 - 1e-12)
