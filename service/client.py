"""A Python client of the HTTP surface. It needs httpx and numpy, no torch.

with Client("http://127.0.0.1:8000") as client:
    job = client.calibrate(M, y, initial_weights=d, record_budget=400)
    weights = job.wait().weights()
"""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, cast

import httpx
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

_ENDED = ("succeeded", "failed", "cancelled")
_WAIT_SECONDS = 20
_TRIES = 5
_BUSY = (429, 503)
_READ = ("csr", "csc", "coo")  # the layouts the service reads


class ClientError(Exception):
    """The service refused a request: `code` and `errors` as it said them."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        places = "; ".join(f"{error['pointer']}: {error['detail']}" for error in errors)
        super().__init__(f"{status} {code}: {places or detail}")
        self.status, self.code, self.detail, self.errors = status, code, detail, list(errors)


class JobFailed(Exception):
    """A job ended without a result; `job` is its last state."""

    def __init__(self, job: dict[str, Any]) -> None:
        reason = (job.get("error") or {}).get("detail", job["status"])
        super().__init__(f"job {job['id']} {job['status']}: {reason}")
        self.job = job


class Client:
    """A connection to one service."""

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def upload(self, array: object) -> str:
        """Send a scipy sparse matrix or a numpy array; gives the upload's id."""
        content, content_type = _encoded(array)
        reply = self.request("POST", "/v1/uploads", content=content, headers={"Content-Type": content_type})
        upload_id: str = reply.json()["id"]
        return upload_id

    def problem(
        self,
        matrix: object,
        targets: ArrayLike,
        *,
        initial_weights: ArrayLike | None = None,
        target_names: Sequence[str] | None = None,
        target_groups: Sequence[int] | None = None,
        holdout: Sequence[bool] | None = None,
        weight_bounds: Mapping[str, ArrayLike] | None = None,
        protected_units: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Register a calibration problem; gives its id, sizes and findings.

        `weight_bounds` holds `lower`, `upper` or both, each one number for all units or one for each.
        """
        body: dict[str, Any] = {
            "kind": "calibration",
            "matrix": {"upload_id": self.upload(matrix)},
            "targets": {"upload_id": self.upload(np.asarray(targets, dtype=np.float64))},
        }
        if initial_weights is not None:
            weights = np.asarray(initial_weights, dtype=np.float64)
            body["initial_weights"] = {"upload_id": self.upload(weights)}
        if weight_bounds is not None:
            body["weight_bounds"] = {side: self._number_or_upload(bound) for side, bound in weight_bounds.items()}
        if protected_units is not None:
            body["protected_units"] = {"upload_id": self.upload(np.asarray(protected_units))}
        optional = {"target_names": target_names, "target_groups": target_groups, "holdout": holdout}
        body |= {name: np.asarray(value).tolist() for name, value in optional.items() if value is not None}
        problem: dict[str, Any] = self.request("POST", "/v1/problems", json=body).json()
        return problem

    def _number_or_upload(self, bound: ArrayLike) -> float | dict[str, str]:
        numbers = np.asarray(bound, dtype=np.float64)
        return {"upload_id": self.upload(numbers)} if numbers.ndim else float(numbers)

    def submit(self, problem_id: str, *, seed: int = 0, device: str = "auto", **hyperparameters: Any) -> "Job":
        """Submit a calibration of a registered problem."""
        body = {
            "kind": "calibration",
            "problem_id": problem_id,
            "seed": seed,
            "device": device,
            "hyperparameters": hyperparameters,
        }
        return Job(client=self, id=self.request("POST", "/v1/jobs", json=body).json()["id"])

    def calibrate(
        self, matrix: object, targets: ArrayLike, *, initial_weights: ArrayLike | None = None, **hyperparameters: Any
    ) -> "Job":
        """Register a problem and submit its calibration in one call."""
        problem = self.problem(matrix, targets, initial_weights=initial_weights)
        return self.submit(problem["id"], **hyperparameters)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; waits and tries again where the service says so, raises ClientError where it refuses."""
        for remaining in reversed(range(_TRIES)):
            reply = self._http.request(method, path, **arguments)
            if reply.status_code not in _BUSY or not remaining:
                break
            time.sleep(_seconds(reply.headers.get("Retry-After", "1")))
        if reply.is_error:
            raise _refusal(reply)
        return reply


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted job."""

    client: Client
    id: str

    def state(self, *, wait: float = 0, after_version: int | None = None) -> dict[str, Any]:
        """Give the job as it is, waiting up to `wait` seconds for its end or a newer version."""
        query = {"wait": wait} | ({} if after_version is None else {"after_version": after_version})
        state: dict[str, Any] = self.client.request("GET", f"/v1/jobs/{self.id}", params=query).json()
        return state

    def wait(self, on_change: Callable[[dict[str, Any]], None] | None = None) -> "Job":
        """Wait for the end, telling every change; raises JobFailed unless the job succeeds."""
        state = self.state()
        while state["status"] not in _ENDED:
            if on_change is not None:
                on_change(state)
            state = self.state(wait=_WAIT_SECONDS, after_version=state["version"])
        if state["status"] != "succeeded":
            raise JobFailed(state)
        if on_change is not None:
            on_change(state)
        return self

    def cancel(self) -> None:
        """Ask the job to stop."""
        self.client.request("POST", f"/v1/jobs/{self.id}/cancel")

    def weights(self, *, checkpoint: str | None = None) -> NDArray[np.float64]:
        """Give the calibrated weights of all units, or those in a checkpoint of any job ("latest", or its id).

        The latter are as the selection stood there: without the exact record budget, bounds and the refit.
        """
        query: dict[str, Any] = {"active_only": False, "format": "npy", **_at(checkpoint)}
        reply = self.client.request("GET", f"/v1/jobs/{self.id}/weights", params=query)
        weights: NDArray[np.float64] = np.lib.format.read_array(io.BytesIO(reply.content), allow_pickle=False)
        return weights

    def weights_csv(self, *, checkpoint: str | None = None) -> str:
        """Give the active units and their weights as CSV: index,weight."""
        query = {"format": "csv", **_at(checkpoint)}
        return self.client.request("GET", f"/v1/jobs/{self.id}/weights", params=query).text

    def checkpoints(self) -> list[dict[str, Any]]:
        """Give the checkpoints that are kept, the newest first: id, epoch, attempt, size and sha256."""
        kept: list[dict[str, Any]] = self.client.request("GET", f"/v1/jobs/{self.id}/checkpoints").json()["data"]
        return kept

    def targets(self) -> list[dict[str, Any]]:
        """Give the fit of every target, in the problem's order."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            query = {"limit": 1000, **cursor}
            page = self.client.request("GET", f"/v1/jobs/{self.id}/targets", params=query).json()
            rows += page["data"]
            if not page["has_more"]:
                return rows
            cursor = {"cursor": page["next_cursor"]}

    def findings(self) -> list[dict[str, Any]]:
        """Give what is wrong or doubtful with the problem, and what the run has found."""
        found: list[dict[str, Any]] = self.client.request("GET", f"/v1/jobs/{self.id}/findings").json()["data"]
        return found

    def metrics(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Give the loss curves: step and last value by key."""
        curves = self.client.request("GET", f"/v1/jobs/{self.id}/metrics").json()["metrics"]
        return {
            key: {name: np.array(curve[name], dtype=np.float64) for name in ("step", "last", "min", "max")}
            for key, curve in curves.items()
        }

    def predict(self, matrix: object, *, checkpoint: str | None = None) -> NDArray[np.float64]:
        """Give the calibrated totals of another matrix over the same units."""
        body = {"matrix": {"upload_id": self.client.upload(matrix)}}
        reply = self.client.request("POST", f"/v1/jobs/{self.id}/predictions", json=body, params=_at(checkpoint))
        return np.array(reply.json()["values"], dtype=np.float64)

    def artifact(self, name: str) -> bytes:
        """Give one file of the result."""
        return self.client.request("GET", f"/v1/jobs/{self.id}/artifacts/{name}").content


def _at(checkpoint: str | None) -> dict[str, str]:
    return {} if checkpoint is None else {"checkpoint": checkpoint}


def _seconds(retry_after: str) -> float:
    """Give the seconds of a Retry-After, which is a number of them or a date.

    >>> _seconds("2"), _seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    (2.0, 0.0)
    """
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 1.0


def _encoded(array: object) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if sp.issparse(array):
        sparse = cast("sp.csr_array", array)
        sp.save_npz(buffer, sparse if sparse.format in _READ else sparse.tocsr(), compressed=False)
        return buffer.getvalue(), "application/x-npz"
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue(), "application/x-npy"


def _refusal(reply: httpx.Response) -> ClientError:
    if not reply.headers.get("content-type", "").startswith("application/problem+json"):
        return ClientError(reply.status_code, "http_error", reply.text[:300])
    body = reply.json()
    return ClientError(body["status"], body["code"], body["detail"], body["errors"])
