"""What the dead have left on its way in goes; what the living write stays."""

from pathlib import Path

import pytest

from service.keeping.scratch import remove_leftovers
from service.storage.held import held_file, held_folder
from service.system import System
from tests.service.jobs import scenes
from tests.service.keeping import shelves

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def left(system: System) -> list[str]:
    return sorted(path.name for path in system.store.scratch().iterdir())


def folder(system: System, name: str) -> Path:
    path = system.store.scratch() / name
    path.mkdir()
    (path / "checkpoint.safetensors").write_bytes(b"state")
    return path


def test_what_the_living_hold_stays_however_old(system: System) -> None:
    with held_file(system.store.scratch()) as file, held_folder(system.store.scratch()) as held:
        for path in (file, held):
            shelves.age(path, 1000)
        remove_leftovers(system)
        assert left(system) == sorted([file.name, held.name])


def test_what_was_held_goes_at_once(system: System) -> None:
    (system.store.scratch() / "held-file").write_bytes(b"half an upload")
    folder(system, "held-folder")
    remove_leftovers(system)
    assert left(system) == []


def test_what_says_nothing_of_its_owner_goes_after_a_day(system: System) -> None:
    for name, hours in (("tmp_old", 25), ("tmp_young", 23)):
        (system.store.scratch() / name).write_bytes(b"")
        shelves.age(system.store.scratch() / name, hours)
    remove_leftovers(system)
    assert left(system) == ["tmp_young"]


def test_the_folder_of_a_job_stays_until_the_job_has_ended(system: System) -> None:
    held = scenes.running(system)
    shelves.age(folder(system, f"{held.job_id}-abc"), 1000)
    remove_leftovers(system)
    assert left(system) == [f"{held.job_id}-abc"]
    scenes.fail(system, held)
    remove_leftovers(system)
    assert left(system) == []
