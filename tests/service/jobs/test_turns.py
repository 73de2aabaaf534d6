"""Tenants take turns, and no job is forgotten on the way."""

from typing import Any

import pytest

from service.jobs import lifecycle
from service.jobs.states import Status
from service.jobs.turns import Turns
from service.system import System
from tests.service.jobs import scenes


def submitted(system: System, tenant: str, **changes: Any) -> str:
    """Submit a job of this tenant."""
    request = scenes.request(scenes.keep_problem(system, tenant=tenant), **changes)
    return scenes.write(system, lambda session: lifecycle.submit(session, tenant, request, system.dispatcher)).id


def served(system: System, ids: list[str], turns: Turns) -> list[str]:
    """Run what each id of these gives leave for, one after the other; gives what was run."""
    ran = []
    for job_id in ids:
        chosen = turns.next(job_id)
        held = scenes.try_claim(system, chosen)
        if held is not None:
            ran.append(chosen)
            scenes.succeed(system, held)
    return ran


def test_with_one_tenant_the_id_that_came_is_the_job(system: System) -> None:
    ids = [submitted(system, "a") for _ in range(3)]
    assert [Turns(system.database).next(job_id) for job_id in reversed(ids)] == ids[::-1]


def test_one_worker_serves_tenants_in_turn_and_each_job_once(system: System) -> None:
    a = [submitted(system, "a") for _ in range(4)]
    b = [submitted(system, "b") for _ in range(2)]
    ran = served(system, a + b, Turns(system.database))
    assert ran[:4] == [a[0], b[0], a[1], b[1]]
    assert sorted(ran) == sorted(a + b)


def test_who_has_fewer_running_is_before_who_has_more(system: System) -> None:
    a = [submitted(system, "a") for _ in range(3)]
    b = submitted(system, "b")
    scenes.claimed(system, a[0])
    assert Turns(system.database).next(a[1]) == b


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order", ["sent", "reversed", "twice"])
def test_whatever_comes_in_which_order_each_job_is_run_once(system: System, workers: int, order: str) -> None:
    ids = [submitted(system, tenant) for tenant in "aaabacb"]
    sent = {"sent": ids, "reversed": ids[::-1], "twice": [*ids, *ids]}[order]
    turns = [Turns(system.database) for _ in range(workers)]
    ran = [job for n, job_id in enumerate(sent) for job in served(system, [job_id], turns[n % workers])]
    assert sorted(ran) == sorted(ids)


def test_an_id_is_leave_for_its_own_route_only(system: System) -> None:
    a = [submitted(system, "a") for _ in range(2)]
    submitted(system, "b", device="cuda")
    scenes.claimed(system, a[0])
    assert Turns(system.database).next(a[1]) == a[1]


def test_the_id_of_a_cancelled_job_is_leave_for_another(system: System) -> None:
    first, second, other = submitted(system, "a"), submitted(system, "a"), submitted(system, "b")
    scenes.write(system, lambda session: lifecycle.cancel(session, "a", first))
    assert sorted(served(system, [first, second, other], Turns(system.database))) == sorted([second, other])


def test_a_job_that_was_begun_goes_on_before_anybody_s_turn(system: System) -> None:
    begun = submitted(system, "a")
    submitted(system, "b")
    scenes.give_back(system, scenes.claimed(system, begun))
    assert Turns(system.database).next(begun) == begun


def test_an_id_of_nothing_stays_one(system: System) -> None:
    assert Turns(system.database).next("job_nobody") == "job_nobody"
    assert scenes.job(system, submitted(system, "a")).status == Status.PENDING
