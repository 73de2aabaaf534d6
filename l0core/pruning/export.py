"""The files a pruning leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save_file

from l0core.artifacts import checkpoint_file, json_file, page_file, table_file
from l0core.kind import Artifact
from l0core.pruning.forward import ARCHITECTURE, MODEL
from l0core.pruning.report import report_html

if TYPE_CHECKING:
    from l0core.pruning.result import PruningResult


def write_all(result: PruningResult, folder: Path) -> list[Artifact]:
    """Write every artifact of `result` into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(result.history.metrics)
    return [
        _weights(result, folder / MODEL),
        json_file(folder / ARCHITECTURE, result.compact.architecture),
        _onnx(result, folder / "model.onnx"),
        table_file(folder / "pruning_log.csv", ["epoch", *columns], _log_rows(result)),
        json_file(folder / "run_config.json", run_config(result)),
        page_file(folder / "report.html", report_html(result)),
        *checkpoint_file(result.checkpoint, folder),
    ]


def run_config(result: PruningResult) -> dict[str, Any]:
    """Give what was run, enough to run it again."""
    return {"kind": "pruning", **result.identity.model_dump(), "sizes": result.problem.sizes}


def _weights(result: PruningResult, path: Path) -> Artifact:
    save_file(dict(result.compact.weights), path)
    return Artifact(path=path, content_type="application/x-safetensors")


def _onnx(result: PruningResult, path: Path) -> Artifact:
    path.write_bytes(result.onnx)
    return Artifact(path=path, content_type="application/octet-stream")


def _log_rows(result: PruningResult) -> Iterator[tuple[object, ...]]:
    return zip(result.history.steps, *result.history.metrics.values(), strict=True)
