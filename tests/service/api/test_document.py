"""The OpenAPI document says what every route is, and nothing of routes that there are not."""

from typing import Any

import pytest
from fastapi.routing import APIRoute

from l0core.kinds import KINDS
from service.api.app import create_app
from service.api.document import ROUTES
from service.api.examples import EXAMPLES
from service.settings import Settings
from tests.service.api.door import Door
from tests.service.api.endings import Finished


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("document"))).openapi()


def operations(written: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in written["paths"].values() for operation in path.values()}


def test_it_knows_every_route_and_no_other(written: dict[str, Any]) -> None:
    assert set(operations(written)) == set(ROUTES)


def test_two_routes_never_share_a_name(tmp_path: Any) -> None:
    routes = create_app(Settings(data_dir=tmp_path)).routes
    names = [route.name for route in routes if isinstance(route, APIRoute) and route.include_in_schema]
    assert len(names) == len(set(names))


def test_every_question_and_every_route_is_described(written: dict[str, Any]) -> None:
    for name, operation in operations(written).items():
        assert operation["summary"], name
        assert operation["description"], name
        undescribed = [
            p["name"] for p in operation.get("parameters", ()) if p["in"] == "query" and not p.get("description")
        ]
        assert undescribed == [], name


def test_every_refusal_is_a_problem_object(written: dict[str, Any]) -> None:
    for name, operation in operations(written).items():
        for status, response in operation["responses"].items():
            if status >= "400" and (name, status) != ("readyz", "503") and name != "has_upload":
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_a_job_has_the_fields_that_are_written_and_no_other(
    door: Door, finished: Finished, written: dict[str, Any]
) -> None:
    """Answers may have more than a document says; here they shall not, or the document is behind."""
    schemas = written["components"]["schemas"]
    job = door.http.get(finished.url).json()
    assert set(job) == set(schemas["Job"]["properties"])
    assert set(job["progress"]) <= set(schemas["Progress"]["properties"])
    rows = door.http.get(f"{finished.url}/targets").json()["data"]
    assert set(rows[0]) == set(schemas["Target"]["properties"])
    problem = door.http.get(f"/v1/problems/{finished.problem_id}").json()
    assert set(problem) == set(schemas["ProblemReport"]["properties"])
    assert set(door.http.get("/v1/capabilities").json()) == set(schemas["Capabilities"]["properties"])


def test_the_examples_are_taken(door: Door, finished: Finished) -> None:
    """Ids are made up in the document: here they are those of a job that is there."""
    there = {"prb_": finished.problem_id, "job_": finished.job_id}

    def real(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: real(item) for name, item in value.items()}
        return there.get(value[:4], value) if isinstance(value, str) else value

    for kind in KINDS:
        reply = door.http.post("/v1/problems", json=EXAMPLES["create_problem"][kind]["value"])
        assert reply.status_code in (200, 201), reply.text
        there["prb_"] = reply.json()["id"]
        assert door.http.post("/v1/jobs", json=real(EXAMPLES["create_job"][kind]["value"])).status_code == 202, kind
    there["prb_"] = finished.problem_id
    resumed = door.http.post("/v1/jobs", json=real(EXAMPLES["create_job"]["resumed"]["value"]))
    assert resumed.status_code in (202, 409)  # it may be of a run without a checkpoint
    url = f"{finished.url}/predictions"
    assert door.http.post(url, json=real(EXAMPLES["predict"]["problem"]["value"])).status_code == 200


def test_every_body_has_an_example(written: dict[str, Any]) -> None:
    for name, operation in operations(written).items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        assert not content or content["examples"], name
