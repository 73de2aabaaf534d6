"""A wait for the store ends: when it is back, when the word to stop comes, when patience is over."""

import threading

import pytest

from service.storage import StoreUnavailable
from worker.failures import describe
from worker.patience import Patience, StoppedWaiting


class Store:
    """Is away for some calls, then back."""

    def __init__(self, away: int) -> None:
        self.calls, self._away = 0, away

    def act(self) -> str:
        self.calls += 1
        if self.calls <= self._away:
            raise StoreUnavailable("away")
        return "done"


def test_what_goes_well_the_second_time_is_done() -> None:
    store = Store(away=1)
    assert Patience(seconds=600, stop=threading.Event()).until_done(store.act) == "done"
    assert store.calls == 2


def test_the_word_to_stop_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedWaiting):
        Patience(seconds=600, stop=stop).until_done(Store(away=10).act)


def test_what_goes_well_at_once_is_done_although_the_word_to_stop_has_come() -> None:
    stop = threading.Event()
    stop.set()
    assert Patience(seconds=600, stop=stop).until_done(Store(away=0).act) == "done"


def test_patience_has_an_end_and_the_job_another_attempt() -> None:
    with pytest.raises(StoreUnavailable) as raised:
        Patience(seconds=0, stop=threading.Event()).until_done(Store(away=10).act)
    told = describe(raised.value)
    assert (told.code, told.retry) == ("worker_lost", True)


@pytest.mark.parametrize("error", [KeyError("gone"), OSError(28, "full"), ValueError("wrong")])
def test_any_other_error_is_not_waited_for(error: Exception) -> None:
    def act() -> None:
        raise error

    with pytest.raises(type(error)):
        Patience(seconds=600, stop=threading.Event()).until_done(act)
