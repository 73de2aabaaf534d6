"""The OpenAPI document says what every route is, and nothing of routes that there are not."""

from typing import Any

import pytest
from fastapi.routing import APIRoute

from service.api.app import create_app
from service.api.document import ROUTES
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
            if status >= "400" and (name, status) != ("readyz", "503"):
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
