"""The matrices the speed benchmarks fit: a dense small one, the states' (where it lies), and geographic stacks."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

STATES = Path(os.environ.get("US_STATES_2022", Path(__file__).parents[2] / "shared" / "data" / "us_states_2022"))
Loaded = tuple[sp.csr_matrix, NDArray[np.float64]]


def small() -> Loaded:
    """Give 200 targets of 10,000 units, three in ten entries set."""
    matrix = sp.random_array((200, 10_000), density=0.3, rng=np.random.default_rng(0), format="csr")
    return sp.csr_matrix(matrix), matrix @ np.full(10_000, 50.0)


def states() -> Loaded:
    """Give `us_states_2022`: 3,416 targets of 280,005 tax units. US_STATES_2022 names its folder."""
    return sp.csr_matrix(sp.load_npz(STATES / "M.npz")), np.load(STATES / "y.npy")


def stack(districts: int, *, households: int = 3000) -> Loaded:
    """Give households cloned into every district, with the same targets for district, state and nation.

    12 of 40 variables are set in a household, so that a column has 36 entries. Every ten districts are a state.
    """
    rng = np.random.default_rng(1)
    variables, per_unit = 40, 12
    set_ = np.argsort(rng.random((households, variables)), axis=1)[:, :per_unit]
    amounts = np.where(set_ < variables // 2, 1.0, np.round(rng.lognormal(9, 1, set_.shape)))
    units = districts * households
    district = np.repeat(np.arange(districts), households)
    state, levels = district // 10, (0, districts, districts + -(-districts // 10))
    columns = np.repeat(np.arange(units, dtype=np.int32), per_unit)
    variable, value = np.tile(set_.ravel(), districts), np.tile(amounts.ravel(), districts)
    place = [np.repeat(level, per_unit) for level in (district, levels[1] + state, np.full(units, levels[2]))]
    rows = np.concatenate([where.astype(np.int32) * variables + variable for where in place])
    matrix = sp.csr_matrix((np.tile(value, 3), (rows, np.tile(columns, 3))), shape=((levels[2] + 1) * variables, units))
    matrix.sort_indices()
    return matrix, np.asarray(matrix @ rng.lognormal(0, 0.5, units))


SIZES: dict[str, Callable[[], Loaded]] = {
    "200 x 10,000, density 0.3": small,
    "us_states_2022": states,
    "stack, 50 million": lambda: stack(463),
}

SCALES: dict[str, Callable[[], Loaded]] = {
    "200 x 10,000, density 0.3": small,
    "64 districts": lambda: stack(64),
    "463 districts": lambda: stack(463),
    "436 districts of 12,000 (local areas)": lambda: stack(436, households=12_000),
}
