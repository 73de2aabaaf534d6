"""What the service says of itself is what it does."""

from l0core.kinds import KINDS
from l0core.version import VERSION
from service.jobs import workers
from service.jobs.values import WorkerIdentity
from tests.service.api.door import Door


def test_limits_and_formats_are_those_in_force(inside: Door) -> None:
    said = inside.http.get("/v1/capabilities").json()
    settings = inside.system.settings
    assert said["limits"]["upload_bytes"] == settings.max_upload_bytes
    assert said["limits"]["targets"] == settings.max_targets
    assert said["kinds"] == list(KINDS)
    assert (said["versions"]["service"], said["devices"]) == (VERSION, [])
    for media_type in said["formats"]["uploads"]:
        assert inside.http.post("/v1/uploads", content=b"x", headers={"Content-Type": media_type}).status_code == 201


def test_devices_are_those_of_the_workers_that_are_there(inside: Door) -> None:
    for name, queues in {"wrk_a": ("cpu",), "wrk_b": ("gpu", "cpu")}.items():
        worker = WorkerIdentity(id=name, host="here", queues=queues, device="cpu", versions={"engine": "7"})
        with inside.system.database.transaction() as session:
            workers.see_worker(session, worker)
    said = inside.http.get("/v1/capabilities").json()
    assert (said["devices"], said["versions"]["engines"]) == (["cpu", "cuda"], ["7"])
