"""The Python client against a real service: arrays in, weights out, refusals as they were said."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.calibration.problem import CalibrationProblem
from l0core.matrices import canonical
from service.client import ActiveWeights, Client, ClientError, Job, JobFailed
from service.jobs.values import Batch
from service.problems import formats
from service.problems.limits import Limits
from tests.service.api.door import Door
from tests.service.api.endings import succeeded, target_row
from tests.service.client.conftest import SOLVED
from tests.service.client.flaky import Answer, flaky


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
    assert list(job.predictions().values) == pytest.approx(SOLVED.problem.matrix @ weights)
    assert job.predictions().names == [row["name"] for row in targets]
    assert set(job.metrics()["loss"]) == {"step", "last", "min", "max"}
    assert job.metrics()["loss"]["step"][-1] == 200


def test_the_kept_units_alone_are_the_same_weights(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    weights, kept = job.weights(), job.weights(active_only=True)
    assert (kept.indices.dtype.str, kept.values.dtype.str, kept.n_units, kept.values.size) == ("<i8", "<f8", 60, 25)
    assert np.array_equal(kept.as_dense(), weights)
    np.testing.assert_allclose(
        (SOLVED.problem.matrix @ kept.as_sparse()).toarray()[:, 0], SOLVED.problem.matrix @ weights
    )


def test_curves_are_asked_for_by_name_and_number_of_points(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    curves = job.metrics(["loss", "active"], max_points=7)
    assert set(curves) == {"loss", "active"}
    assert curves["active"]["last"].size <= 7
    assert job.metrics(["loss"], from_step=100)["loss"]["step"].min() >= 100


def test_a_picture_of_the_loss_can_be_seen_and_saved(run: tuple[Job, list[dict[str, Any]]], tmp_path: Any) -> None:
    job, _ = run
    picture = job.plot_loss(["loss", "l0_penalty"])
    saved = picture.save(tmp_path / "loss.svg").read_text(encoding="utf-8")
    assert saved == picture._repr_svg_()
    assert saved.startswith("<svg")
    assert ">l0_penalty<" in saved


def test_targets_come_in_the_order_and_of_the_kind_that_is_asked_for(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    errors = [row["abs_relative_error"] for row in job.targets(sort="-abs_relative_error")]
    assert errors == sorted(errors, reverse=True)
    assert job.targets(holdout=True) == []


def test_a_job_tells_what_happened_to_it(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    events = list(job.events())
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert list(job.events(after=2)) == events[2:]
    assert list(job.events(follow=True)) == events
    assert list(job.events(after=2, follow=True)) == events[2:]
    assert len(job.log().splitlines()) == len(events)


def test_files_of_a_result_are_downloaded_whole(run: tuple[Job, list[dict[str, Any]]], tmp_path: Any) -> None:
    job, _ = run
    sizes = {artifact["name"]: artifact["size_bytes"] for artifact in job.artifacts()}
    written = [job.download("report.html", tmp_path), job.download("calibration_weights.npy", tmp_path / "w.npy")]
    assert written == [tmp_path / "report.html", tmp_path / "w.npy"]
    assert [path.stat().st_size for path in written] == [sizes["report.html"], sizes["calibration_weights.npy"]]
    assert np.array_equal(np.load(tmp_path / "w.npy"), job.weights())
    with pytest.raises(ClientError, match="404"):
        job.download("nothing.csv", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "w.npy"]


def test_jobs_are_found_by_what_they_are(run: tuple[Job, list[dict[str, Any]]], client: Client) -> None:
    job, _ = run
    soon = datetime.now(UTC) + timedelta(days=1)
    found = client.jobs(status="succeeded", kind="calibration", tags={"made": "by the client"})
    assert [one["id"] for one in found] == [job.id]
    assert list(client.jobs(created_after=soon)) == []
    assert client.job(job.id).state()["tags"] == {"made": "by the client"}


def test_lists_are_read_to_their_last_page() -> None:
    pages = [
        {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "next_cursor": "xyz"},
        {"data": [{"id": "c"}], "has_more": False, "next_cursor": None},
    ]
    with flaky(*[Answer(body=json.dumps(page).encode()) for page in pages]) as (client, asked):
        assert [one["id"] for one in client.jobs(tags={"x": "y"})] == ["a", "b", "c"]
    assert [one.path for one in asked] == ["/v1/jobs?limit=100&tag.x=y", "/v1/jobs?limit=100&tag.x=y&cursor=xyz"]


def test_problems_are_listed(door: Door, client: Client) -> None:
    assert door.listed_problem() in [one["id"] for one in client.problems(kind="calibration")]


def test_an_ended_job_is_retried_compared_taken_up_and_deleted(
    run: tuple[Job, list[dict[str, Any]]], client: Client
) -> None:
    job, _ = run
    again = client.job(job.id).retry()
    assert again.state()["retry_of"] == job.id
    resumed = client.submit(job.state()["problem_id"], resume_from=job, epochs=300)
    assert resumed.state()["resumed_from"]["job_id"] == job.id
    assert client.compare(job, job.id)["a"]["job_id"] == job.id
    again.cancel()
    again.delete()
    with pytest.raises(ClientError, match="404"):
        again.state()


def test_a_problem_is_checked_and_not_kept(client: Client) -> None:
    problem: dict[str, Any] = {"matrix": np.array([[1.0, 2.0], [0.0, 0.0]]), "targets": [4.25, 17.5]}
    checked = client.check(**problem)
    assert (checked["n_targets"], checked["n_units"], checked["findings"][0]["code"]) == (2, 2, "no_support")
    assert checked["sha256"] not in [one["sha256"] for one in client.problems()]
    assert client.problem(**problem)["sha256"] == checked["sha256"]


def test_the_service_says_what_it_can(client: Client) -> None:
    assert "calibration" in client.capabilities()["kinds"]
    assert "record_budget" in client.schema("calibration")["hyperparameters"]["properties"]
    assert client.workers() == []


def test_a_job_is_asked_for_with_all_that_was_given(door: Door, client: Client) -> None:
    job = client.submit(
        door.listed_problem(), seed=5, device="cpu", log_every=3, checkpoint_every=7, max_attempts=2, epochs=11
    ).state()
    assert (job["seed"], job["device"], job["max_attempts"], job["hyperparameters"]["epochs"]) == (5, "cpu", 2, 11)


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
        target_weights=[1, 2],
        target_scales=np.array([3.0, 4.0]),
        target_tolerances=[0.1, 0.2],
        tags={"a": "b"},
    )
    assert problem["tags"] == {"a": "b"}
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
    client.problem(np.ones((1, 3)), [1.0], target_groups=groups, holdout=[np.bool_(False)])


def test_many_groups_go_up_as_an_array(client: Client) -> None:
    many = 1_001
    matrix, groups = sp.eye_array(many, format="csr"), np.arange(many)
    sent = client.problem(matrix, np.ones(many), target_groups=groups, holdout=groups % 2 == 0)
    assert sent["n_targets"] == many


def test_files_and_uploads_stand_for_their_arrays(client: Client, tmp_path: Any) -> None:
    matrix = sp.csr_array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    sp.save_npz(tmp_path / "M.npz", matrix)
    np.save(tmp_path / "y.npy", np.array([8.0, 9.0]))
    by_path = client.problem(tmp_path / "M.npz", str(tmp_path / "y.npy"))
    by_id = client.problem(client.upload(tmp_path / "M.npz"), client.upload(np.array([8.0, 9.0])))
    assert by_path["sha256"] == by_id["sha256"] == client.problem(matrix, [8, 9])["sha256"]


def test_a_file_of_an_unknown_kind_is_refused_by_its_name(client: Client, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"'M.mat' can not be sent: its name must end in .npz, .npy, .mtx"):
        client.upload(tmp_path / "M.mat")


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


def test_type_checkers_know_what_every_method_gives(run: tuple[Job, list[dict[str, Any]]], client: Client) -> None:
    """Checked by mypy; here they are true as well."""
    job = client.job(run[0].id)
    assert_type(job.wait(), Job)
    assert_type(job.weights(), NDArray[np.float64])
    assert_type(job.weights(active_only=True), ActiveWeights)
    assert_type(job.state(), dict[str, Any])
    assert_type(client.jobs(kind="calibration"), Iterator[dict[str, Any]])
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        job.state(weight=1)  # type: ignore[call-arg]  # refused before anything is sent


def test_an_unknown_artifact_is_not_found(run: tuple[Job, list[dict[str, Any]]]) -> None:
    job, _ = run
    with pytest.raises(ClientError, match="404 not_found"):
        job.artifact("nothing.csv")


def test_the_client_needs_no_engine_and_no_server() -> None:
    code = "import sys, service.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint({"torch", "fastapi", "celery", "sqlalchemy"})
