"""Being told to end: at once where a process waits, never in the middle of anything else, and never forgotten."""

import signal
from contextlib import suppress

import pytest

from service.ending import Ended, only_loading, told_by_signals

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_who_waits_is_interrupted(number: signal.Signals) -> None:
    reached = False
    with told_by_signals() as ending, pytest.raises(Ended), ending.waiting():
        signal.raise_signal(number)
        reached = True
    assert not reached


@pytest.mark.parametrize("number", SIGNALS)
def test_who_does_not_wait_is_interrupted_once_it_waits(number: signal.Signals) -> None:
    reached = [False, False]
    with told_by_signals() as ending:
        signal.raise_signal(number)
        reached[0] = True
        with pytest.raises(Ended), ending.waiting():
            reached[1] = True
    assert reached == [True, False]


def test_an_interruption_that_somebody_dropped_comes_again() -> None:
    with told_by_signals() as ending, pytest.raises(Ended), ending.waiting():
        with suppress(Ended):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Ended):
            ending.check()


def test_who_is_not_told_goes_on() -> None:
    with told_by_signals() as ending, ending.waiting():
        ending.check()


def test_ending_itself_is_not_interrupted() -> None:
    with told_by_signals() as ending:
        with pytest.raises(Ended), ending.waiting():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_the_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with told_by_signals(), only_loading():
        pass
    with only_loading():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_handler_of_somebody_else_stays_while_loading() -> None:
    with told_by_signals():
        handler = signal.getsignal(signal.SIGINT)
        with only_loading():
            assert signal.getsignal(signal.SIGINT) == handler
