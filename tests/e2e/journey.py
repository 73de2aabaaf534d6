"""Walk the HTTP surface as a PolicyEngine backend would; needs httpx, numpy, scipy only.

    python journey.py http://127.0.0.1:8000 ../data/minnesota_2022 [API_KEY]

Uploads a real problem, fits it with an exact record budget, polls, follows the events,
reads loss curves, active weights and predictions, and checks every number it can
against the matrix it holds. Prints one line a step; exit 1 at the first broken promise.
"""

import io
import json
import sys
import time
import uuid

import httpx
import numpy as np
import scipy.sparse as sp

BASE, FOLDER = sys.argv[1].rstrip("/"), sys.argv[2]
HEADERS = {"Authorization": f"Bearer {sys.argv[3]}"} if len(sys.argv) > 3 else {}
BUDGET = 400
http = httpx.Client(base_url=BASE, headers=HEADERS, timeout=30.0)
M = sp.load_npz(f"{FOLDER}/M.npz").tocsr()
y, d = np.load(f"{FOLDER}/y.npy"), np.load(f"{FOLDER}/init_weights.npy")


def step(text: str) -> None:
    print(f"{time.perf_counter() - START:7.2f}s  {text}", flush=True)


def expect(condition: bool, promise: str) -> None:
    if not condition:
        sys.exit(f"BROKEN: {promise}")


def upload(path: str, content_type: str) -> str:
    with open(path, "rb") as stream:
        reply = http.post("/v1/uploads", content=stream.read(), headers={"Content-Type": content_type})
    expect(reply.status_code in (200, 201), f"upload of {path}: {reply.status_code} {reply.text[:300]}")
    return reply.json()["id"]


def finished(job_id: str, seconds: float) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reply = http.get(f"/v1/jobs/{job_id}", params={"wait": 5})
        expect(reply.status_code == 200, f"a known job answers 200, not {reply.status_code}")
        job = reply.json()
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return job
    sys.exit(f"BROKEN: job {job_id} did not end in {seconds} s: {job['status']} {job['stage']} {job['progress']}")


START = time.perf_counter()


def answers(path: str) -> int:
    try:
        return http.get(path).status_code
    except httpx.TransportError:
        return 0


end = time.monotonic() + 60
while answers("/readyz") != 200 and time.monotonic() < end:
    time.sleep(0.2)
expect(
    answers("/healthz") == 200 and answers("/readyz") == 200, "GET /healthz and /readyz are 200 once a worker is there"
)
step("ready")

body = {
    "kind": "calibration",
    "matrix": {"upload_id": upload(f"{FOLDER}/M.npz", "application/x-npz")},
    "targets": {"upload_id": upload(f"{FOLDER}/y.npy", "application/x-npy")},
    "initial_weights": {"upload_id": upload(f"{FOLDER}/init_weights.npy", "application/x-npy")},
}
report = http.post("/v1/problems", params={"validate_only": True}, json=body)
expect(report.status_code == 200, f"validate_only is 200, not {report.status_code} {report.text[:300]}")
problem = http.post("/v1/problems", json=body)
expect(
    problem.status_code in (200, 201),
    f"problem is 201 (200 when held already), not {problem.status_code} {problem.text[:300]}",
)
problem = problem.json()
expect(
    (problem["n_targets"], problem["n_units"], problem["nnz"]) == (*M.shape, M.nnz),
    "the problem's sizes are the matrix's",
)
step(
    f"problem {problem['id']}: {problem['n_targets']} targets x {problem['n_units']} units, {len(problem['findings'])} findings"
)

job_body = {
    "kind": "calibration",
    "problem_id": problem["id"],
    "seed": 7,
    "device": "cpu",
    "hyperparameters": {"record_budget": BUDGET, "epochs": 500, "refit": True},
}
key = str(uuid.uuid4())
first = http.post("/v1/jobs", json=job_body, headers={"Idempotency-Key": key})
expect(first.status_code == 202, f"a job is accepted with 202, not {first.status_code} {first.text[:300]}")
expect("location" in first.headers and "retry-after" in first.headers, "202 carries Location and Retry-After")
again = http.post("/v1/jobs", json=job_body, headers={"Idempotency-Key": key})
expect(again.json()["id"] == first.json()["id"], "the same Idempotency-Key gives the same job")
other = http.post("/v1/jobs", json={**job_body, "seed": 8}, headers={"Idempotency-Key": key})
expect(other.status_code == 422, f"another payload under the key is 422, not {other.status_code}")
job_id = first.json()["id"]
step(f"job {job_id}")

job = finished(job_id, 300)
expect(job["status"] == "succeeded", f"the job succeeds: {json.dumps(job.get('error'))}")
step(f"succeeded: {json.dumps(job['summary'])[:200]}")

active = http.get(f"/v1/jobs/{job_id}/weights", params={"active_only": True}).json()
indices, values = np.array(active["indices"]), np.array(active["values"])
expect(
    active["count"] == len(indices) == len(set(indices.tolist())) == BUDGET,
    f"exactly {BUDGET} units are active, not {active['count']}",
)
expect(bool((values > 0).all()) and active["n_units"] == M.shape[1], "active weights are positive")
dense = np.load(
    io.BytesIO(http.get(f"/v1/jobs/{job_id}/weights", params={"active_only": False, "format": "npy"}).content)
)
expect(
    dense.shape == (M.shape[1],) and np.allclose(dense[indices], values) and int((dense > 0).sum()) == BUDGET,
    "dense and active weights agree",
)
estimate = M.astype(np.float64) @ dense
error = np.abs(estimate - y) / np.maximum(np.abs(y), 1)
before = np.abs(M.astype(np.float64) @ d - y) / np.maximum(np.abs(y), 1)
expect(
    error.mean() < 0.002 < before.mean(),
    f"mean abs. relative error {error.mean():.4%} (survey weights {before.mean():.2%})",
)
step(
    f"weights: {BUDGET} of {M.shape[1]} units, mean abs. relative error {before.mean():.2%} -> {error.mean():.4%}, max {error.max():.3%}"
)

predicted = http.get(f"/v1/jobs/{job_id}/predictions").json()
expect(np.allclose(predicted["values"], estimate, rtol=1e-6), "predictions are M w")
half = M[: M.shape[0] // 2].tocoo()
inline = {
    "matrix": {
        "coo": {
            "shape": list(half.shape),
            "row": half.row.tolist(),
            "col": half.col.tolist(),
            "data": half.data.tolist(),
        }
    }
}
other = http.post(f"/v1/jobs/{job_id}/predictions", json=inline)
expect(
    other.status_code == 200 and np.allclose(other.json()["values"], estimate[: half.shape[0]], rtol=1e-6),
    "another matrix over the same units is predicted",
)
curve = http.get(
    f"/v1/jobs/{job_id}/metrics", params={"keys": "loss,active,mean_abs_relative_error", "max_points": 50}
).json()
series = curve["metrics"]
expect(
    2 <= len(series["loss"]["step"]) <= 50 and len(series["loss"]["last"]) == len(series["loss"]["step"]),
    "a loss curve of at most max_points points",
)
fit = series["mean_abs_relative_error"]["last"]
expect(fit[-1] < before.mean(), "the curve ends below the survey weights")
events = http.get(f"/v1/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
expect([e["seq"] for e in events] == sorted({e["seq"] for e in events}), "events are numbered")
with http.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
    text = "".join(stream.iter_text())
expect("event: end" in text, "the event stream of an ended job ends with `event: end`")
targets = http.get(f"/v1/jobs/{job_id}/targets", params={"limit": 5, "sort": "-abs_relative_error"}).json()["data"]
expect(abs(targets[0]["abs_relative_error"] - error.max()) < 1e-6, "the worst target is the worst")
names = {a["name"] for a in http.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]}
expect(
    {"calibration_weights.npy", "calibration_log.csv", "unified_diagnostics.csv", "run_config.json"} <= names,
    f"the field's own files are there: {sorted(names)}",
)
part = http.get(f"/v1/jobs/{job_id}/artifacts/calibration_weights.npy", headers={"Range": "bytes=0-9"})
expect(part.status_code == 206 and part.content[1:6] == b"NUMPY", "artifacts answer ranges")
step("predictions, curves, events, targets, artifacts")

same = finished(http.post("/v1/jobs", json=job_body).json()["id"], 300)
twin = np.load(
    io.BytesIO(http.get(f"/v1/jobs/{same['id']}/weights", params={"active_only": False, "format": "npy"}).content)
)
expect(np.array_equal(twin, dense), "same problem, same seed: the same weights to the bit")
bad = http.post("/v1/jobs", json={**job_body, "hyperparameters": {"epochs": -3}})
expect(
    bad.status_code == 422 and bad.headers["content-type"].startswith("application/problem+json"),
    "a bad hyperparameter is a 422 problem",
)
stopped = http.post(
    "/v1/jobs",
    json={
        **job_body,
        "hyperparameters": {"selector": "gates", "epochs": 5_000_000, "lambda_share": 0.1, "early_stopping": False},
    },
).json()["id"]
end = time.monotonic() + 30
while http.get(f"/v1/jobs/{stopped}").json()["status"] == "pending" and time.monotonic() < end:
    time.sleep(0.1)
expect(http.post(f"/v1/jobs/{stopped}/cancel").status_code == 202, "cancel is 202")
expect(finished(stopped, 30)["status"] == "cancelled", "a cancelled job ends cancelled")
expect(http.get("/v1/jobs/job_nobody_knows").status_code == 404, "an unknown job is 404")
step("determinism, refusals, cancel: all promises kept")
