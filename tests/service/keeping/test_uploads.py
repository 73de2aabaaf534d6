"""Uploads go a day after anybody last sent or used them."""

import pytest

from service.errors import NotFound
from service.keeping import uploads
from service.problems import repository
from service.problems.models import Upload
from service.problems.uploads import Receiver, keep
from service.system import System
from tests.service.jobs import scenes
from tests.service.keeping import shelves


def test_an_upload_that_nobody_uses_goes_after_a_day_with_its_bytes(system: System) -> None:
    shelves.upload(system, days_old=1.1)
    young = shelves.upload(system, days_old=0.9)
    uploads.forget_unused(system)
    assert shelves.keys(system) == [young.storage_key]
    assert shelves.count(system, Upload) == 1


def test_an_upload_that_was_used_of_late_stays(system: System) -> None:
    shelves.upload(system, days_old=30, used_days_ago=2)
    used = shelves.upload(system, days_old=30, used_days_ago=0.5)
    uploads.forget_unused(system)
    assert shelves.keys(system) == [used.storage_key]


def test_making_a_problem_of_an_upload_is_using_it(system: System) -> None:
    row = shelves.upload(system, days_old=30)
    scenes.write(system, lambda session: repository.use_uploads(session, scenes.TENANT, [row.id]))
    uploads.forget_unused(system)
    assert shelves.keys(system) == [row.storage_key]


def test_sending_the_same_bytes_again_is_using_it(system: System) -> None:
    def sent() -> Upload:
        with Receiver(system.store, 100) as receiver:
            receiver.write(b"the same")
            return keep(system, scenes.TENANT, receiver.finish(None), "application/x-npy")[0]

    first = sent()
    shelves.age_upload(system, first.id, days=2)
    again = sent()
    uploads.forget_unused(system)
    assert again.id == first.id
    assert shelves.keys(system) == [first.storage_key]


def test_an_upload_that_went_is_unknown(system: System) -> None:
    row = shelves.upload(system, days_old=2)
    uploads.forget_unused(system)
    with pytest.raises(NotFound, match=row.id):
        scenes.write(system, lambda session: repository.use_uploads(session, scenes.TENANT, [row.id]))


def test_another_tenant_cannot_keep_an_upload(system: System) -> None:
    row = shelves.upload(system, days_old=2)
    with pytest.raises(NotFound):
        scenes.write(system, lambda session: repository.use_uploads(session, "tenant-b", [row.id]))
    uploads.forget_unused(system)
    assert shelves.keys(system) == []
