"""Files that no row names go once they are old; whatever is named, young, or on its way stays."""

from dataclasses import replace
from functools import partial

import pytest

from service.jobs.models import StoredCheckpoint
from service.jobs.values import Batch, Claim, attempt_prefix
from service.keeping import orphans
from service.system import System
from tests.problems import solved
from tests.service.jobs import scenes
from tests.service.keeping import shelves
from tests.service.keeping.shelves import never

OLD = 25.0
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def known_problem(system: System) -> str:
    """Keep a problem with its bytes; gives its id."""
    return scenes.keep_problem(system, solved(n_targets=2, n_units=4).problem)


def ended_with_a_result(system: System) -> Claim:
    """Give a job that has succeeded with a checkpoint and an artifact."""
    held = scenes.running(system, problem_id=known_problem(system))
    scenes.report(system, held, Batch(checkpoints=[shelves.checkpoint(system, held.job_id, 1)]))
    scenes.succeed(system, held, artifacts=(shelves.artifact(system, held.job_id, "weights"),))
    return held


def test_whatever_is_named_stays_however_old(system: System) -> None:
    ended_with_a_result(system)
    shelves.upload(system)
    held = shelves.keys(system)
    shelves.age_everything(system)
    orphans.remove(system, never)
    assert shelves.keys(system) == held
    assert len(held) == 4


def test_what_a_job_left_unnamed_goes_once_it_is_old(system: System) -> None:
    job_id = ended_with_a_result(system).job_id
    shelves.age_everything(system)
    shelves.put(system, f"jobs/{job_id}/lost/checkpoint-1", hours_old=OLD)
    young = shelves.put(system, f"jobs/{job_id}/lost/checkpoint-2", hours_old=23)
    orphans.remove(system, never)
    assert f"jobs/{job_id}/lost/checkpoint-1" not in shelves.keys(system)
    assert young in shelves.keys(system)
    assert len(shelves.keys(system)) == 4


@pytest.mark.parametrize("key", ["problems/prb_rolled_back", "uploads/upl_rolled_back", "jobs/job_nobody/x/weights"])
def test_what_no_row_has_ever_named_goes_once_it_is_old(system: System, key: str) -> None:
    ended_with_a_result(system)
    shelves.age_everything(system)
    shelves.put(system, key, hours_old=OLD)
    shelves.put(system, f"{key}_young")
    orphans.remove(system, never)
    assert key not in shelves.keys(system)
    assert f"{key}_young" in shelves.keys(system)


def test_what_a_running_attempt_has_stored_stays_however_long_it_runs(system: System) -> None:
    held = scenes.running(system, problem_id=known_problem(system))
    key = attempt_prefix(held.job_id, held.token) + "weights"
    shelves.put(system, key, hours_old=1000)
    orphans.remove(system, never)
    assert key in shelves.keys(system)
    scenes.fail(system, held)
    orphans.remove(system, never)
    assert key not in shelves.keys(system)


def test_a_checkpoint_of_an_attempt_that_lost_its_lease_goes(system: System) -> None:
    job_id = scenes.submitted(system, problem_id=known_problem(system))
    first = scenes.claimed(system, job_id)
    scenes.expire(system, job_id)
    second = scenes.claimed(system, job_id, scenes.OTHER_WORKER)
    lost, kept = (attempt_prefix(job_id, held.token) + "checkpoint" for held in (first, second))
    for key in (lost, kept):
        shelves.put(system, key, hours_old=OLD)
    orphans.remove(system, never)
    assert lost not in shelves.keys(system)
    assert kept in shelves.keys(system)


def test_a_store_of_another_database_is_left_alone(system: System) -> None:
    known_problem(system)
    strange = [shelves.put(system, f"problems/prb_{number}") for number in range(3)]
    shelves.age_everything(system)
    orphans.remove(system, never)
    assert set(strange) < set(shelves.keys(system))


@on_sqlite
def test_a_store_of_an_empty_database_is_left_alone(system: System) -> None:
    strange = shelves.put(system, "problems/prb_precious", hours_old=1000)
    orphans.remove(system, never)
    assert shelves.keys(system) == [strange]


@on_sqlite
def test_a_file_that_is_not_ours_is_left_alone(system: System) -> None:
    ended_with_a_result(system)
    other = shelves.put(system, "backups/of_somebody", hours_old=1000)
    orphans.remove(system, never)
    assert other in shelves.keys(system)


@on_sqlite
def test_a_search_goes_through_more_files_than_fit_one_look(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_KEYS_A_LOOK", 3)
    job_id = ended_with_a_result(system).job_id
    shelves.age_everything(system)
    for number in range(10):
        shelves.put(system, f"jobs/{job_id}/lost/{number}", hours_old=OLD)
    orphans.remove(system, never)
    assert len(shelves.keys(system)) == 3


@on_sqlite
def test_a_search_that_is_told_to_stop_stops(system: System) -> None:
    job_id = ended_with_a_result(system).job_id
    shelves.put(system, f"jobs/{job_id}/lost/1", hours_old=OLD)
    orphans.remove(system, lambda: True)
    assert len(shelves.keys(system)) == 4


def test_an_attempt_that_is_over_leaves_only_what_is_named(system: System) -> None:
    held = scenes.running(system, problem_id=known_problem(system))
    put = partial(shelves.put, system)
    prefix = attempt_prefix(held.job_id, held.token)
    named = scenes.checkpoint_ref(5)
    scenes.report(system, held, Batch(checkpoints=[named]))
    other = put(f"jobs/{held.job_id}/another/weights")
    for key in (named.storage_key, f"{prefix}weights", f"{prefix}report.html"):
        put(key)
    orphans.remove_of_attempt(system, held)
    left = [key for key in shelves.keys(system) if key.startswith("jobs")]
    assert left == sorted([other, named.storage_key])


def test_who_ends_a_job_removes_what_killed_attempts_have_left(system: System) -> None:
    held = scenes.running(system, problem_id=known_problem(system))
    named = replace(scenes.checkpoint_ref(5), storage_key=f"jobs/{held.job_id}/killed/listed")
    scenes.report(system, held, Batch(checkpoints=[named]))
    for key in (named.storage_key, f"jobs/{held.job_id}/killed/checkpoint", "jobs/job_other/killed/checkpoint"):
        shelves.put(system, key)
    assert scenes.succeed(system, held)
    orphans.remove_of_attempt(system, held)
    left = [key for key in shelves.keys(system) if key.startswith("jobs")]
    assert left == sorted(["jobs/job_other/killed/checkpoint", named.storage_key])


def test_a_checkpoint_reported_twice_is_listed_once(system: System) -> None:
    """The answer to the first report was lost; were it listed twice, dropping one would take the other's bytes."""
    held = scenes.running(system)
    for _ in range(2):
        scenes.report(system, held, Batch(checkpoints=[scenes.checkpoint_ref(5)]))
    assert shelves.count(system, StoredCheckpoint) == 1
