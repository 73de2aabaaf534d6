"""Bodies of several kinds: one route takes them all, and a refusal is about the kind that was meant."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from l0core.calibration import KIND as CALIBRATION
from service.api import errors
from service.api.bodies import job_body, one_of, problem_body
from service.api.examples import examples_of
from service.api.sound_json import SoundJsonRoute
from tests.kinds.counting import KIND as COUNTING
from tests.service.api.door import InProcess
from tests.service.api.door import problem_body as sound

BOTH = (CALIBRATION, COUNTING)
NUMBERS: dict[str, Any] = {"kind": "counting", "numbers": [1.0], "shelves": [{"form": "low"}]}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """Routes for bodies of both kinds, and nothing behind them."""
    made = FastAPI()
    made.router.route_class = SoundJsonRoute
    errors.install(made)
    problem_of_either: Any = one_of([problem_body(kind) for kind in BOTH])
    job_of_either: Any = one_of([job_body(kind) for kind in BOTH])

    @made.post("/problems")
    def problem(body: problem_of_either) -> str:
        return type(body).__name__

    @made.post("/jobs")
    def job(body: job_of_either) -> str:
        return type(body).__name__

    return made


@pytest.fixture(scope="module")
def http(app: FastAPI) -> Iterator[httpx.Client]:
    with httpx.Client(transport=InProcess(app), base_url="http://localhost") as client:
        yield client


def test_each_kind_is_taken_as_what_it_is(http: httpx.Client) -> None:
    assert http.post("/problems", json=sound()).json() == "CalibrationProblem"
    assert http.post("/problems", json=NUMBERS).json() == "CountingProblem"
    asked = {"kind": "counting", "problem_id": "prb_1", "hyperparameters": {"count": 2}}
    assert http.post("/jobs", json=asked).json() == "CountingJob"
    assert http.post("/jobs", json={"kind": "calibration", "problem_id": "prb_1"}).json() == "CalibrationJob"


@pytest.mark.parametrize(
    ("changed", "pointer", "says"),
    [
        ({"kind": "weighing"}, "/kind", "kind: Input should be 'calibration', 'counting'"),
        ({"kind": 5}, "/kind", "kind: Input should be 'calibration', 'counting'"),
        ({"kind": None}, "/kind", "kind: Field required"),
        ({"numbers": None}, "/numbers", "numbers: Field required"),
        ({"numbers": [1.0, "2"]}, "/numbers/1", "should be a valid number"),
        ({"numbers": {"upload": "upl_1"}}, "/numbers/upload_id", "upload_id: Field required"),
        ({"numbers": 1.0}, "/numbers", "an array is"),
        ({"shelves": [{"form": "low"}, {"form": "high"}]}, "/shelves/1/ladder", "ladder: Field required"),
        ({"shelves": [{"form": "low", "ladder": True}]}, "/shelves/0/ladder", "unknown field"),
        ({"shelves": [{"form": "wide"}]}, "/shelves/0", "0: it has none of the forms"),
        ({"matrix": [[1.0]]}, "/matrix", "matrix: unknown field"),
        ({"counting": 1}, "/counting", "counting: unknown field"),
        ({"~list": 1}, "/~0list", "~list: unknown field"),
        ({"tags": {"a": 1}}, "/tags/a", "should be a valid string"),
    ],
)
def test_a_pointer_names_what_was_sent_and_no_tag(
    http: httpx.Client, changed: dict[str, Any], pointer: str, says: str
) -> None:
    body = {name: value for name, value in (NUMBERS | changed).items() if value is not None}
    reply = http.post("/problems", json=body)
    assert reply.status_code == 422, reply.text
    fault = reply.json()["errors"][0]
    assert fault["pointer"] == pointer, fault
    assert says in fault["detail"], fault


@pytest.mark.parametrize("body", [[], 1, "text", None])
def test_what_is_no_object_is_refused(http: httpx.Client, body: object) -> None:
    assert http.post("/problems", json=body).status_code == 422


def test_hyperparameters_that_must_be_said_are_missed(http: httpx.Client) -> None:
    asked: dict[str, Any] = {"kind": "counting", "problem_id": "prb_1"}
    missed = http.post("/jobs", json=asked).json()["errors"][0]
    assert (missed["pointer"], missed["code"]) == ("/hyperparameters", "invalid_hyperparameter")
    missed = http.post("/jobs", json=asked | {"hyperparameters": {}}).json()["errors"][0]
    assert (missed["pointer"], missed["code"]) == ("/hyperparameters/count", "invalid_hyperparameter")


def test_the_document_tells_kinds_apart_by_their_name(app: FastAPI) -> None:
    content = app.openapi()["paths"]["/problems"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(content["discriminator"]["mapping"]) == {"calibration", "counting"}
    assert len(content["oneOf"]) == 2


def test_examples_come_from_the_kinds() -> None:
    found = examples_of({kind.name: kind for kind in BOTH})
    assert {name: set(examples) for name, examples in found.items()} == {
        name: {"calibration", "counting"} for name in found
    }
    assert found["create_job"]["counting"]["value"]["hyperparameters"] == {"count": 2}
