"""Rows held out: as many as asked for, of every class alike, by the seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.pruning.data import prepare, split
from l0core.pruning.problem import PruningProblem
from tests.l0core.pruning.networks import a_line, mlp, rows, two_classes


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    fraction=st.floats(0.15, 0.6),
    seed=st.integers(0, 2**62),
)
def test_every_class_has_its_share_among_the_rows_held_out(counts: list[int], fraction: float, seed: int) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    problem = PruningProblem.build(
        rows(len(classes), 2),
        classes,
        task="classification",
        network=mlp(len(counts)),
        holdout_fraction=fraction,
    )
    training, held = split(problem, seed)
    assert len(held) == round(fraction * len(classes))
    assert np.array_equal(np.sort(np.concatenate([training, held])), np.arange(len(classes)))
    shares = np.bincount(classes[held], minlength=len(counts)) - fraction * np.array(counts)
    assert np.abs(shares).max() <= 1.5


def test_the_seed_decides_which_rows_are_held_out() -> None:
    one, same, other = (split(two_classes(), seed)[1].tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_a_regression_learns_outcomes_of_mean_0_and_spread_1() -> None:
    data = prepare(a_line(), 1, "cpu")
    learned = data.training.outcome
    assert float(learned.mean()) == pytest.approx(0, abs=1e-5)
    assert float(learned.std(correction=0)) == pytest.approx(1, abs=1e-5)
    back = data.scale.shift + data.scale.unit * learned[:, 0].double().numpy()
    np.testing.assert_allclose(back, a_line().outcome[split(a_line(), 1)[0]], rtol=1e-5)


def test_a_constant_outcome_does_not_divide_by_its_spread() -> None:
    problem = PruningProblem.build(rows(20, 2), np.full(20, 7.0), task="regression", network=mlp(1))
    assert prepare(problem, 1, "cpu").training.outcome.abs().max() == 0
