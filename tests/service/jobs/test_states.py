"""The table of legal moves, written out a second time by hand."""

import itertools

import pytest

from service.jobs.states import MOVES, TERMINAL, Status, sources

LEGAL = {
    ("pending", "running"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("running", "running"),  # another attempt
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(Status, Status)))
def test_a_move_is_legal_exactly_where_the_table_says_so(source: Status, target: Status) -> None:
    assert (target in MOVES[source]) == ((source.value, target.value) in LEGAL)


@pytest.mark.parametrize("target", Status)
def test_the_sources_of_a_state_are_those_that_may_become_it(target: Status) -> None:
    assert {source.value for source in sources(target)} == {source for source, end in LEGAL if end == target.value}


def test_every_state_is_in_the_table() -> None:
    assert set(MOVES) == set(Status)


def test_nothing_returns_to_pending() -> None:
    assert sources(Status.PENDING) == frozenset()


def test_the_terminal_states_are_succeeded_failed_cancelled() -> None:
    assert {status.value for status in TERMINAL} == {"succeeded", "failed", "cancelled"}


def test_every_job_can_still_end() -> None:
    assert all(MOVES[status] & TERMINAL for status in set(Status) - TERMINAL)
