"""The test of the house: a kind that is a folder and its line in the list goes through every door, and no other line.

The kind is `counting`, a test's own. API, parsing process and engine are processes that know it from their start; this
process, which is worker, client and terminal, has it on its list.
"""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from l0core.cli import app
from service.client import Client, ClientError
from service.db.migrate import upgrade
from service.settings import Settings
from tests.kinds.counting import VARIABLES, known_here
from tests.service.api.door import Door, open_door, refused
from tests.service.problems.files import NPY, npy
from tests.service.terminal.typed import L0
from worker.engine_process import engines
from worker.execution import execute
from worker.identity import identity

NUMBERS = [5.0, 1.0, 7.0, 3.0]
SHELVES = [{"form": "high", "ladder": True}, {"form": "low"}]
PICKED = [(0, 5.0, "high"), (2, 7.0, "low")]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    """An API that knows the kind."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("counting"), broker_url=redis_url)
    upgrade(settings.database)
    with pytest.MonkeyPatch.context() as patch, known_here():
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        engines.end()  # one of before does not know the kind
        with open_door(settings) as opened:
            yield opened
        engines.end()


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[Client]:
    with Client(str(door.http.base_url)) as opened:
        yield opened


@pytest.fixture
def l0(door: Door) -> L0:
    return L0(str(door.http.base_url))


def run(door: Door, job_id: str) -> None:
    """Do what a worker does."""
    execute(job_id, door.system, identity(door.system.settings), threading.Event())


@pytest.fixture(scope="module")
def finished(door: Door, client: Client) -> str:
    """A job of the kind that an engine has run."""
    job = client.solve("counting", numbers=NUMBERS, shelves=SHELVES, label="mine", count=2, epochs=5, seed=3)
    run(door, job.id)
    return job.wait(timeout_seconds=60).id


def test_its_problem_is_kept_by_content_and_tells_its_own_sizes(door: Door) -> None:
    upload = {"upload_id": door.upload(npy(np.array(NUMBERS)), NPY)}
    bodies = [{"kind": "counting", "numbers": numbers, "shelves": SHELVES} for numbers in (NUMBERS, upload)]
    inline, uploaded = (door.http.post("/v1/problems", json=body).json() for body in bodies)
    assert (inline["id"], inline["n_numbers"], inline["n_shelves"]) == (uploaded["id"], 4, 2)
    refused(door.http.get(f"/v1/problems/{inline['id']}/targets"), 404, "not_found", says="counting problem has no")


def test_what_is_wrong_with_its_problem_is_said_with_a_pointer(door: Door) -> None:
    body = {"kind": "counting", "numbers": NUMBERS, "shelves": []}
    refused(door.http.post("/v1/problems", json=body), 422, "invalid_request", pointer="/shelves", says="no shelves")
    text = {"upload_id": door.upload(npy(np.array(["a"])), NPY)}
    reply = door.http.post("/v1/problems", json=body | {"numbers": text, "shelves": SHELVES})
    refused(reply, 422, "invalid_request", says="numbers")


def test_a_job_of_another_kind_s_problem_is_refused(door: Door) -> None:
    body = {"kind": "counting", "problem_id": door.problem(), "hyperparameters": {"count": 1}}
    assert door.http.post("/v1/jobs", json=body).status_code == 422


def test_its_job_tells_what_it_has_and_no_more(door: Door, finished: str) -> None:
    job = door.http.get(f"/v1/jobs/{finished}").json()
    assert (job["kind"], job["status"], job["summary"]["n_picked"]) == ("counting", "succeeded", 2)
    assert {"weights", "targets"}.isdisjoint(job["links"])
    assert {"predictions", "picked"} <= set(job["links"])
    for path in ("weights", "predictions"):
        refused(door.http.get(f"/v1/jobs/{finished}/{path}"), 404, "not_found", says="counting job")
    assert set(door.http.get(job["links"]["metrics"]).json()["metrics"]) == {"drawn"}


def test_its_table_is_to_be_had_in_every_form(door: Door, client: Client, finished: str) -> None:
    columns = door.http.get(f"/v1/jobs/{finished}/picked").json()
    assert columns == {"indices": [0, 2], "numbers": [5.0, 7.0], "on": ["high", "low"], "count": 2}
    assert client.job(finished).table("picked").tolist() == PICKED
    csv = door.http.get(f"/v1/jobs/{finished}/picked", headers={"Accept": "text/csv"}).text
    assert csv.splitlines()[:2] == ["index,number,shelf", "0,5.0,high"]


def test_its_result_answers_in_its_own_way(door: Door, client: Client, finished: str) -> None:
    url = f"/v1/jobs/{finished}/predictions"
    drawn = door.http.get(f"/v1/jobs/{finished}").json()["summary"]["drawn"]
    upload = {"upload_id": door.upload(npy(np.array([1.0, 2.0])), NPY)}
    for numbers in ([1.0, 2.0], upload):
        assert door.http.post(url, json={"numbers": numbers}).json() == {"values": [1.0 + drawn, 2.0 + drawn]}
    assert client.job(finished).predict(np.array([1.0])).tolist() == [1.0 + drawn]
    assert client.job(finished).answer(numbers=np.arange(2000.0))["values"][1999] == 1999.0 + drawn


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({"matrix": [[1.0]]}, "/matrix", "a counting job is asked with numbers"),
        ({}, "/numbers", "numbers: Field required"),
        ({"numbers": [1.0, "2"]}, "/numbers/1", "valid number"),
        ({"numbers": [1e308, 1e308, 1e400]}, "/numbers/2", "finite"),
    ],
)
def test_a_question_that_is_none_is_refused(
    door: Door, finished: str, body: dict[str, object], pointer: str, says: str
) -> None:
    text = str(body).replace("'", '"').replace("inf", "1e400")
    reply = door.http.post(
        f"/v1/jobs/{finished}/predictions", content=text, headers={"Content-Type": "application/json"}
    )
    refused(reply, 422, "invalid_request", pointer=pointer, says=says)


def test_a_question_to_what_is_no_result_is_refused(door: Door, client: Client, finished: str) -> None:
    waiting = client.solve("counting", numbers=NUMBERS, shelves=SHELVES, count=1)
    url, body = f"/v1/jobs/{waiting.id}/predictions", {"numbers": [1.0]}
    refused(door.http.post(url, json=body), 409, "result_not_ready")
    url = f"/v1/jobs/{finished}/predictions?checkpoint=latest"
    refused(door.http.post(url, json=body), 404, "not_found", says="without checkpoint")
    refused(door.http.post(url, json={"numbers": {"upload_id": "upl_1"}}), 404, "not_found")


def test_what_its_engine_refuses_is_why_its_job_failed(door: Door, client: Client) -> None:
    job = client.solve("counting", numbers=NUMBERS, shelves=SHELVES, count=5)
    run(door, job.id)
    error = job.state()["error"]
    assert (error["code"], error["errors"][0]["pointer"]) == ("invalid_hyperparameter", "/hyperparameters/count")
    with pytest.raises(ClientError, match="count: Field required"):
        client.solve("counting", numbers=NUMBERS, shelves=SHELVES)


def test_the_document_shows_its_bodies_its_table_and_its_example(door: Door) -> None:
    made = door.http.get("/openapi.json").json()
    assert {"CountingProblem", "CountingJob", "CountingQuestion", "PickedTable"} <= set(made["components"]["schemas"])
    assert "/v1/jobs/{job_id}/picked" in made["paths"]
    asked = made["paths"]["/v1/jobs/{job_id}/predictions"]["post"]["requestBody"]["content"]["application/json"]
    assert {"$ref": "#/components/schemas/CountingQuestion"} in asked["schema"]["anyOf"]
    assert asked["examples"]["counting"]["value"] == {"numbers": [0.5]}
    schema = door.http.get("/v1/methods/counting/schema").json()
    assert set(schema["question"]["properties"]) == {"numbers"}
    assert set(schema["tables"]) == {"picked"}


def test_the_terminal_submits_and_shows_it(door: Door, l0: L0, finished: str, tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.array(NUMBERS))
    (tmp_path / "shelves.json").write_text('[{"form": "low"}]')
    fields = ("-i", f"numbers={tmp_path / 'n.npy'}", "-i", f"shelves={tmp_path / 'shelves.json'}")
    done = l0("submit", "--kind", "counting", *fields, "-p", "count=2")
    assert done.code == 0, done.stderr
    assert "4 numbers x 1 shelves" in done.stderr
    run(door, done.stdout.strip())
    watched = l0("watch", done.stdout.strip())
    assert "picked by counting" in watched.stdout
    assert f"l0 download {done.stdout.strip()}" in watched.stderr
    assert l0("table", finished, "picked").stdout.splitlines()[1] == "0,5.0,high"
    assert len(l0("predict", finished, str(tmp_path / "n.npy")).stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["-i", "numbers=nothing.npy"], "there is no file 'nothing.npy'"),
        (["-i", "numbers=[1, 2]"], "a counting problem needs shelves: -i shelves=FILE"),
        (["-i", "numbers=[1]", "-i", "wheels=[1]"], "has no field 'wheels'; it has numbers, shelves, label"),
        (["-i", "numbers"], "write field=file"),
    ],
)
def test_a_problem_that_is_none_is_one_line_at_the_terminal(typed: list[str], says: str, l0: L0) -> None:
    for command in (["submit"], ["check"]):
        done = l0(*command, "--kind", "counting", *typed)
        assert (done.code, done.stdout) == (2, "")
        assert says in " ".join(done.stderr.split())


def test_it_runs_without_a_service(tmp_path: Path, door: Door) -> None:
    typed = ["--kind", "counting", "-i", "numbers=[5, 1, 7, 3]", "-i", 'shelves=[{"form": "low"}]']
    done = CliRunner().invoke(app, ["fit", *typed, "-p", "count=2", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert "picked by counting" in done.stdout
    assert np.load(io.BytesIO((tmp_path / "out" / "picked.npy").read_bytes()))["index"].tolist() == [0, 2]
    assert CliRunner().invoke(app, ["check", *typed]).exit_code == 0
    assert "(required)" in CliRunner().invoke(app, ["schema", "counting"]).stdout
