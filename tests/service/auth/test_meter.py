"""A tenant's bucket of requests: a minute's worth at once, then as fast as it fills."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from service.auth.meter import Meter


@dataclass
class Clock:
    """A clock that stands still."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_s_worth_may_come_at_once_and_no_more() -> None:
    meter = Meter(60, Clock())
    assert [meter.take("a").granted for _ in range(61)] == [True] * 60 + [False]


def test_a_refused_request_is_granted_once_the_time_it_was_told_is_over() -> None:
    clock = Clock()
    meter = Meter(60, clock)
    for _ in range(60):
        meter.take("a")
    refused = meter.take("a")
    assert (refused.granted, refused.left, refused.next_in_seconds, refused.full_in_seconds) == (False, 0, 1, 60)
    clock.now += refused.next_in_seconds
    assert meter.take("a").granted


def test_one_tenant_takes_nothing_from_another() -> None:
    meter = Meter(1, Clock())
    assert meter.take("a").granted
    assert not meter.take("a").granted
    assert meter.take("b").granted


@given(st.lists(st.floats(0, 100), max_size=50), st.integers(1, 100))
def test_never_more_than_a_bucket_and_what_has_flown_in_is_granted(pauses: list[float], quota: int) -> None:
    clock = Clock()
    meter = Meter(quota, clock)
    granted = 0
    for pause in pauses:
        clock.now += pause
        allowance = meter.take("a")
        granted += allowance.granted
        assert 0 <= allowance.left < quota or quota == 0
        assert granted <= quota + clock.now * quota / 60 + 1e-6
