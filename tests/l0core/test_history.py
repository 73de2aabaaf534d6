"""How often a selection looks at itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.history import SNAPSHOTS, History, log_distance, snapshot_distance

epochs_ = st.integers(1, 10_000_000)


@given(epochs=epochs_)
def test_at_most_twenty_epochs_keep_every_estimate(epochs: int) -> None:
    kept = {*range(0, epochs + 1, snapshot_distance(epochs, None)), epochs}
    assert len(kept) <= SNAPSHOTS


@given(epochs=epochs_)
def test_25_to_250_epochs_are_logged_or_nearly(epochs: int) -> None:
    distance = log_distance(epochs, None)
    assert min(epochs, 25) <= epochs // distance < 500
    assert distance >= min(epochs // 25, 100)


@given(epochs=epochs_, log_every=st.none() | st.integers(1, 1000))
def test_every_kept_epoch_is_a_logged_one(epochs: int, log_every: int | None) -> None:
    assert snapshot_distance(epochs, log_every) % log_distance(epochs, log_every) == 0


@pytest.mark.parametrize("log_every", [1, 7, 500])
def test_what_is_asked_for_is_what_is_logged_and_kept(log_every: int) -> None:
    assert log_distance(300, log_every) == snapshot_distance(300, log_every) == log_every


def test_a_history_grows_by_one_number_a_curve() -> None:
    history = History()
    history.add(0, {"loss": 2.0, "active": 9.0})
    history.add(5, {"loss": 1.0, "active": 8.0})
    assert history == History(steps=[0, 5], metrics={"loss": [2.0, 1.0], "active": [9.0, 8.0]})
