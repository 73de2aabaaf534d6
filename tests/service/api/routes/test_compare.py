"""Two fits side by side: every common target is counted once, as better, worse or the same."""

from typing import Any

import numpy as np

from service.jobs.values import Batch
from tests.service.api.door import Door, refused
from tests.service.api.endings import succeeded, target_row


def fit(on: Door, errors: dict[str, float]) -> str:
    """Give a job that has met the targets of these names with these errors."""
    rows = [target_row(i, name=name, abs_relative_error=error) for i, (name, error) in enumerate(errors.items())]
    return succeeded(on.system, on.job(on.listed_problem())["id"], weights=np.ones(3), batch=Batch(targets=rows))


def compared(on: Door, a: str, b: str, **query: Any) -> dict[str, Any]:
    reply = on.http.get("/v1/compare", params={"a": a, "b": b, **query})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_common_targets_are_better_worse_or_the_same(inside: Door) -> None:
    a = fit(inside, {"gone": 0.9, "x": 0.5, "y": 0.1, "z": 0.2, "w": 0.3})
    b = fit(inside, {"z": 0.2 + 1e-9, "y": 0.4, "x": 0.1, "w": 0.3, "new": 0.0})
    found = compared(inside, a, b)
    assert {name: found[name] for name in ("common", "improved", "regressed", "unchanged")} == {
        "common": 4,
        "improved": 1,
        "regressed": 1,
        "unchanged": 2,
    }
    assert found["n_targets"] == {"a": 5, "b": 5}
    assert (found["a"]["job_id"], found["b"]["summary"]) == (a, {"loss": 0.5})
    np.testing.assert_allclose(found["mean_abs_relative_error"]["a"], (0.5 + 0.1 + 0.2 + 0.3) / 4)
    np.testing.assert_allclose(found["max_abs_relative_error"]["b"], 0.4)
    changes = found["largest_changes"]
    assert [change["name"] for change in changes[:2]] == ["x", "y"]
    np.testing.assert_allclose([change["change"] for change in changes[:2]], [-0.4, 0.3])
    assert len(compared(inside, a, b, limit=1)["largest_changes"]) == 1


def test_the_other_way_round_better_is_worse(inside: Door) -> None:
    a, b = fit(inside, {"x": 0.5, "y": 0.1, "z": 0.1}), fit(inside, {"x": 0.1, "y": 0.2, "z": 0.0})
    one, other = compared(inside, a, b), compared(inside, b, a)
    assert (one["improved"], one["regressed"]) == (other["regressed"], other["improved"]) == (2, 1)


def test_targets_of_one_name_are_compared_in_their_order(inside: Door) -> None:
    def twice(first: float, second: float) -> str:
        rows = [target_row(i, name="same", abs_relative_error=error) for i, error in enumerate((first, second))]
        return succeeded(
            inside.system, inside.job(inside.listed_problem())["id"], weights=np.ones(3), batch=Batch(targets=rows)
        )

    found = compared(inside, twice(0.1, 0.5), twice(0.2, 0.4))
    assert (found["common"], found["improved"], found["regressed"]) == (2, 1, 1)


def test_fits_with_nothing_in_common_have_no_mean(inside: Door) -> None:
    found = compared(inside, fit(inside, {"x": 0.1}), fit(inside, {"y": 0.1}))
    assert (found["common"], found["improved"], found["largest_changes"]) == (0, 0, [])
    assert found["mean_abs_relative_error"] == {"a": None, "b": None}


def test_only_results_can_be_compared(inside: Door) -> None:
    done, waits = fit(inside, {"x": 0.1}), inside.job(inside.listed_problem())["id"]
    refused(inside.http.get("/v1/compare", params={"a": done, "b": waits}), 409, "result_not_ready")
    refused(inside.http.get("/v1/compare", params={"a": done, "b": "job_nobody"}), 404, "not_found")
    refused(inside.http.get("/v1/compare", params={"a": done}), 422, "invalid_request", pointer="/b")
