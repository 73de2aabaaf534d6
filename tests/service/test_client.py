"""The Python client against a real service: arrays in, weights out, refusals as they were said."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
import scipy.sparse as sp

from l0core.calibration.problem import CalibrationProblem
from l0core.matrices import canonical
from service.client import Client, ClientError, Job, JobFailed
from service.db.migrate import upgrade
from service.jobs.values import Batch
from service.problems import formats
from service.problems.limits import Limits
from service.settings import Settings
from tests.problems import solved
from tests.service.api.door import Door, open_door
from tests.service.api.endings import succeeded, target_row
from worker.execution import execute
from worker.identity import identity

SOLVED = solved(n_targets=8, n_units=60)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Door]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("client"), broker_url=redis_url)
    upgrade(settings.database)
    with open_door(settings) as opened:
        yield opened


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    with Client(f"{door.http.base_url}") as opened:
        yield opened


@pytest.fixture(scope="module")
def run(door: Door) -> Iterator[tuple[Job, list[dict[str, Any]]]]:
    """A calibration asked for and waited for, run by a worker's own code in a thread; with every state it told."""
    problem, changes = SOLVED.problem, list[dict[str, Any]]()
    with Client(f"{door.http.base_url}") as client:
        job = client.calibrate(
            problem.matrix, problem.targets, initial_weights=problem.design_weights, record_budget=25, epochs=200
        )
        system = door.system
        worker = threading.Thread(target=execute, args=(job.id, system, identity(system.settings), threading.Event()))
        worker.start()
        assert job.wait(changes.append) == job
        worker.join()
        yield job, changes


def test_a_calibration_is_told_from_its_first_state_to_its_last(run: tuple[Job, list[dict[str, Any]]]) -> None:
    _, changes = run
    assert changes[0]["status"] in ("pending", "running")
    assert changes[-1]["status"] == "succeeded"
    versions = [state["version"] for state in changes]
    assert versions == sorted(set(versions))


def test_every_form_of_the_result_agrees(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    weights = job.weights()
    assert (weights.shape, weights.dtype.str, int((weights > 0).sum())) == ((60,), "<f8", 25)
    rows = [line.split(",") for line in job.weights_csv().splitlines()[1:]]
    assert {int(index): float(weight) for index, weight in rows} == {
        int(index): float(weights[index]) for index in np.flatnonzero(weights)
    }
    targets = job.targets()
    np.testing.assert_allclose([row["estimate"] for row in targets], SOLVED.problem.matrix @ weights)
    np.testing.assert_allclose(job.predict(SOLVED.problem.matrix), SOLVED.problem.matrix @ weights)
    assert job.artifact("calibration_weights.npy").endswith(weights.tobytes())
    assert set(job.metrics()["loss"]) == {"step", "last", "min", "max"}
    assert job.metrics()["loss"]["step"][-1] == 200


def test_a_checkpoint_gives_the_weights_before_the_budget_and_the_refit(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    newest = job.checkpoints()[0]
    weights = job.weights(checkpoint="latest")
    assert (newest["epoch"], weights.shape, weights.dtype.str) == (200, (60,), "<f8")
    assert not np.array_equal(weights, job.weights())
    assert np.array_equal(job.weights(checkpoint=newest["id"]), weights)
    active = [line.split(",") for line in job.weights_csv(checkpoint="latest").splitlines()[1:]]
    assert [float(weight) for _, weight in active] == weights[weights > 0].tolist()
    matrix = SOLVED.problem.matrix
    np.testing.assert_allclose(job.predict(matrix, checkpoint="latest"), matrix @ weights, rtol=1e-12)


def test_all_pages_of_targets_are_read(door: Door, client: Client) -> None:
    job = client.submit(door.listed_problem())
    rows = [target_row(index) for index in range(2100)]
    succeeded(door.system, job.id, weights=np.ones(3), batch=Batch(targets=rows))
    assert [row["index"] for row in job.targets()] == list(range(2100))


def test_a_registered_problem_has_everything_that_was_given(client: Client) -> None:
    problem = client.problem(
        sp.csr_array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]),
        np.array([3, 4]),
        initial_weights=[1, 2, 3],
        target_names=["a", "b"],
        target_groups=[1, 2],
        holdout=[False, True],
    )
    assert (problem["n_targets"], problem["n_units"], problem["nnz"]) == (2, 3, 3)


@pytest.mark.parametrize(
    ("bounds", "units"),
    [
        ({"lower": 0.5, "upper": [1, 2, 3]}, np.array([2, 0])),
        ({"upper": np.array([1.0, np.inf, 3.0])}, [1]),
        ({"lower": np.float64(0.25)}, []),
    ],
)
def test_bounds_and_protected_units_arrive_as_they_were_given(client: Client, bounds: Any, units: Any) -> None:
    sent = client.problem(np.ones((1, 3)), [1.0], weight_bounds=bounds, protected_units=units)
    built = CalibrationProblem.build(np.ones((1, 3)), [1.0], weight_bounds=bounds, protected_units=units)
    assert sent["sha256"] == built.sha256


def test_a_job_tells_the_findings_of_its_problem(client: Client) -> None:
    problem = client.problem(np.array([[1.0, 1.0], [0.0, 0.0]]), [1.0, 5.0], target_names=["all", "nobody"])
    assert [(found["code"], found["target"]) for found in client.submit(problem["id"]).findings()] == [
        ("no_support", "nobody")
    ]


def test_groups_and_holdout_may_be_arrays(client: Client) -> None:
    groups: Any = np.array([1])
    client.problem(np.ones((1, 3)), [1.0], target_groups=groups, holdout=[np.bool_(False)])  # type: ignore[list-item]  # as pandas gives them


def _as_the_service_reads(door: Door, upload_id: str) -> list[list[float]]:
    """Give the matrix of an upload by the service's own reader."""
    upload = door.http.get(f"/v1/uploads/{upload_id}").json()
    limits = Limits.of(door.system.settings)
    with door.system.store.local(f"uploads/{upload_id}") as path:
        matrix, _ = canonical(formats.read_matrix(path, upload["content_type"], limits, "/matrix"))
    dense: list[list[float]] = matrix.toarray().tolist()
    return dense


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_any_sparse_matrix_can_be_sent(door: Door, client: Client, layout: str) -> None:
    csr: Any = sp.csr_array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    assert _as_the_service_reads(door, client.upload(csr.asformat(layout))) == csr.toarray().tolist()


@pytest.mark.parametrize("matrix", [[[1.0, 2.0]], np.array([[1, 2]]), np.array([[1, 2]], dtype="f4")])
def test_dense_matrices_can_be_sent(door: Door, client: Client, matrix: object) -> None:
    assert _as_the_service_reads(door, client.upload(matrix)) == [[1.0, 2.0]]


def test_a_refusal_is_raised_as_it_was_said(client: Client) -> None:
    with pytest.raises(ClientError) as caught:
        client.problem(np.ones((2, 3)), [1.0])
    refusal = caught.value
    assert (refusal.status, refusal.code) == (422, "shape_mismatch")
    assert refusal.errors[0]["pointer"] == "/targets"
    assert "/targets: targets has shape (1,); it needs (2,)" in str(refusal)


def test_a_bad_hyperparameter_is_named(door: Door, client: Client) -> None:
    with pytest.raises(ClientError, match="422 invalid_hyperparameter: /hyperparameters/epoch: epoch: unknown field"):
        client.submit(door.listed_problem(), epoch=1)


def test_objects_are_never_pickled(client: Client) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        client.upload(np.array([None]))


def test_a_cancelled_job_is_no_result(door: Door, client: Client) -> None:
    job = client.submit(door.listed_problem())
    job.cancel()
    with pytest.raises(JobFailed, match=f"job {job.id} cancelled") as caught:
        job.wait()
    assert caught.value.job["status"] == "cancelled"
    with pytest.raises(ClientError, match="409 result_not_ready"):
        job.weights()


def test_an_unknown_artifact_is_not_found(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    with pytest.raises(ClientError, match="404 not_found"):
        job.artifact("nothing.csv")


# --- a service that is busy, or is none


@contextmanager
def _answering(*replies: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[Client, list[str]]]:
    """Give a client of a server that answers these in turn, the last for ever, and the list of what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = replies[min(len(asked), len(replies) - 1)]
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}/") as client:
                yield client, asked
        finally:
            server.shutdown()
            thread.join()


_BUSY = (503, {"Retry-After": "0", "Content-Type": "application/problem+json"})
_PROBLEM = b'{"status": 503, "code": "not_ready", "detail": "try again", "errors": []}'


def test_a_busy_service_is_asked_again() -> None:
    with _answering((*_BUSY, _PROBLEM), (429, {"Retry-After": "0"}, b""), (200, {}, b"{}")) as (client, asked):
        assert client.request("GET", "/x").status_code == 200
        assert asked == ["/x"] * 3


def test_a_service_that_stays_busy_is_given_up() -> None:
    with (
        _answering((*_BUSY, _PROBLEM)) as (client, asked),
        pytest.raises(ClientError, match="503 not_ready: try again"),
    ):
        client.request("GET", "/x")
    assert len(asked) == 5


def test_a_date_to_come_back_at_is_understood() -> None:
    date = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with _answering((503, date, b""), (200, {}, b"{}")) as (client, _):
        assert client.request("GET", "/x").status_code == 200


def test_an_answer_of_something_else_is_an_error_in_words() -> None:
    bad_gateway = (502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
    with (
        _answering(bad_gateway) as (client, asked),
        pytest.raises(ClientError, match="502 http_error: <h1>Bad gateway"),
    ):
        client.request("GET", "/x")
    assert len(asked) == 1


def test_no_service_is_httpx_own_error() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(httpx.ConnectError):
        client.request("GET", "/healthz")


def test_the_client_needs_no_engine_and_no_server() -> None:
    code = "import sys, service.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint({"torch", "fastapi", "celery", "sqlalchemy"})
