"""The files a calibration leaves: the names and columns the field's programs already read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l0core.artifacts import checkpoint_file, json_file, page_file, safe_cell, table_file
from l0core.calibration.attribution import attribution, largest
from l0core.calibration.report import report_html
from l0core.kind import Artifact

if TYPE_CHECKING:
    from l0core.calibration.result import CalibrationResult


MOST_TARGETS = 50  # of those that add most to the loss
MOST_GROUPS = 200
MOST_PAST_CAP = 100


def write_all(result: CalibrationResult, folder: Path) -> list[Artifact]:
    """Write every artifact of `result` into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _weights(result, folder / "calibration_weights.npy"),
        table_file(folder / "calibration_log.csv", _LOG_COLUMNS, _log_rows(result)),
        table_file(folder / "unified_diagnostics.csv", _DIAGNOSTICS_COLUMNS, _diagnostics_rows(result)),
        json_file(folder / "calibration_diagnostics.json", _diagnostics(result)),
        json_file(folder / "run_config.json", run_config(result)),
        page_file(folder / "report.html", report_html(result)),
        *checkpoint_file(result.checkpoint, folder),
    ]


_LOG_COLUMNS = (
    "target_name",
    "estimate",
    "target",
    "epoch",
    "error",
    "rel_error",
    "abs_error",
    "rel_abs_error",
    "loss",
    "achievable",
)
_DIAGNOSTICS_COLUMNS = ("target", "true_value", "estimate", "rel_error", "abs_rel_error", "achievable")


def run_config(result: CalibrationResult) -> dict[str, Any]:
    """Give what was run, enough to run it again."""
    return {"kind": "calibration", **result.identity.model_dump(), "sizes": result.problem.sizes}


def _weights(result: CalibrationResult, path: Path) -> Artifact:
    np.save(path, result.weights, allow_pickle=False)
    return Artifact(path=path, content_type="application/x-npy")


def _achievable(result: CalibrationResult) -> list[bool]:
    doubted = {finding.index for finding in result.all_findings if finding.severity == "error"}
    return [i not in doubted for i in range(result.problem.n_targets)]


def _log_rows(result: CalibrationResult) -> Iterable[tuple[object, ...]]:
    problem, achievable = result.problem, _achievable(result)
    losses = dict(zip(result.history.steps, result.history.metrics["loss"], strict=True))
    for epoch, estimates in sorted(result.history.snapshots.items()):
        errors, relative = estimates - problem.targets, problem.relative_errors(estimates)
        for i, name in enumerate(problem.names):
            error, share = float(errors[i]), float(relative[i])
            yield (
                safe_cell(name),
                float(estimates[i]),
                float(problem.targets[i]),
                epoch,
                error,
                share,
                abs(error),
                abs(share),
                losses[epoch],
                achievable[i],
            )


def _diagnostics_rows(result: CalibrationResult) -> Iterable[tuple[object, ...]]:
    for row, achievable in zip(result.target_rows(), _achievable(result), strict=True):
        yield (
            safe_cell(row["name"]),
            row["value"],
            row["estimate"],
            row["relative_error"],
            row["abs_relative_error"],
            achievable,
        )


def _diagnostics(result: CalibrationResult) -> dict[str, Any]:
    rows = list(result.target_rows())
    return {
        "summary": result.summary,
        "attribution": attribution(result.parts, rows, most=MOST_TARGETS),
        "by_group": result.by_group(MOST_GROUPS),
        "past_cap": _past_cap(result, rows),
        "findings": [finding.model_dump() for finding in result.all_findings],
        "problem_sha256": result.problem.sha256,
    }


def _past_cap(result: CalibrationResult, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Give the targets that are given up, the farthest away first."""
    if result.past_cap is None:
        return None
    shown = largest(np.where(result.past_cap, np.abs(result.fit.relative_errors), 0.0), MOST_PAST_CAP)
    count = int(result.past_cap.sum())
    return {"n_targets": count, "targets": [rows[i] for i in shown], "n_left_out": count - int(shown.size)}
