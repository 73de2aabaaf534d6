"""The lengths of scaled columns."""

import numpy as np
import scipy.sparse as sp

from l0core.calibration.kernels.norms import squared_norms, squared_products


def test_the_norms_are_those_of_the_scaled_columns() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(9, 7)) * (rng.random((9, 7)) < 0.5)
    dense[[0, 4, 8]] = 0  # a row without entries at either end and amid
    factor = rng.normal(size=9)
    expected = ((factor[:, None] * dense) ** 2).sum(axis=0)
    np.testing.assert_allclose(squared_norms(sp.csr_array(dense), factor), expected, rtol=1e-12)
    assert squared_norms(sp.csr_array((0, 3)), np.zeros(0)).tolist() == [0.0] * 3


def test_the_products_are_those_of_the_squared_entries() -> None:
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(9, 7)) * (rng.random((9, 7)) < 0.5)
    dense[[0, 4, 8]] = 0
    by_column = rng.random(7)
    np.testing.assert_allclose(squared_products(sp.csr_array(dense), by_column), dense**2 @ by_column, rtol=1e-12)
    assert squared_products(sp.csr_array((2, 0)), np.zeros(0)).tolist() == [0.0, 0.0]
