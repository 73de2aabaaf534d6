"""What the engine can do, told by the engine's own declarations."""

import pytest

from l0core.kinds import KINDS
from tests.service.api.door import Door, job_body, refused


def test_every_kind_is_listed(door: Door) -> None:
    listed = door.http.get("/v1/methods").json()["data"]
    assert listed == [{"kind": kind.name, "summary": kind.summary} for kind in KINDS.values()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_tells_meaning_default_and_range_of_everything(door: Door, kind: str) -> None:
    schema = door.http.get(f"/v1/methods/{kind}/schema").json()
    assert schema["kind"] == kind
    assert set(schema["hyperparameters"]["properties"]) == set(KINDS[kind].hyperparameters.model_fields)
    assert set(schema["inputs"]["properties"]) == set(KINDS[kind].inputs.model_fields)
    for name, field in schema["hyperparameters"]["properties"].items():
        assert len(field.get("description", "")) > 10, name
        needed = name in schema["hyperparameters"].get("required", ())
        assert needed or "default" in field or field.get("type") in ("object", "array"), name
    assert schema["metrics"]
    assert schema["artifacts"]


def test_the_defaults_of_the_schema_are_the_ones_of_a_job(door: Door, problem_id: str) -> None:
    properties = door.http.get("/v1/methods/calibration/schema").json()["hyperparameters"]["properties"]
    used = door.http.post("/v1/jobs", json=job_body(problem_id)).json()["hyperparameters"]
    assert {name: used[name] for name, field in properties.items() if "default" in field} == {
        name: field["default"] for name, field in properties.items() if "default" in field
    }


@pytest.mark.parametrize("kind", ["weighing", "CALIBRATION", "", "%00", "x" * 5000])
def test_an_unknown_kind_is_not_found(door: Door, kind: str) -> None:
    refused(door.http.get(f"/v1/methods/{kind}/schema"), 404, "not_found")
