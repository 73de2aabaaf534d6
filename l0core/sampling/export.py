"""The files a sampling leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l0core.kind import Artifact
from l0core.plain import plain
from l0core.sampling.report import features_html, sample_html

if TYPE_CHECKING:
    from l0core.sampling.result import FeaturesResult, SampleResult

    Result: TypeAlias = SampleResult | FeaturesResult

_NPY, _JSON = "application/x-npy", "application/json"


def write_sample(result: SampleResult, folder: Path) -> list[Artifact]:
    """Write every artifact of a sample into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    expanded = [_array(folder / "horvitz_thompson_weights.npy", result.horvitz_thompson_weights)]
    return [
        _array(folder / "sampling_weights.npy", result.weights),
        *(expanded if result.options.mode == "hybrid" else ()),
        *_of_both(result, folder, sample_html(result)),
    ]


def write_features(result: FeaturesResult, folder: Path) -> list[Artifact]:
    """Write every artifact of a choice of columns into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _array(folder / "coefficients.npy", result.explained.coefficients),
        *_of_both(result, folder, features_html(result)),
    ]


def run_config(result: Result) -> dict[str, Any]:
    """Give what was run, enough to run it again."""
    return {"kind": "sampling", **result.identity.model_dump(), "sizes": result.problem.sizes}


def _of_both(result: Result, folder: Path, page: str) -> list[Artifact]:
    return [
        _array(folder / "selection.npy", result.selection),
        _json(folder / "sampling_diagnostics.json", _diagnostics(result)),
        _json(folder / "run_config.json", run_config(result)),
        _page(folder / "report.html", page),
        *_checkpoint(result.checkpoint, folder),
    ]


def _diagnostics(result: Result) -> dict[str, Any]:
    return {
        "mode": result.options.mode,
        "summary": result.summary,
        "columns": list(result.column_rows()),
        "findings": [finding.model_dump() for finding in result.all_findings],
        "problem_sha256": result.problem.sha256,
    }


def _array(path: Path, numbers: NDArray[Any]) -> Artifact:
    np.save(path, numbers, allow_pickle=False)
    return Artifact(path=path, content_type=_NPY)


def _json(path: Path, value: object) -> Artifact:
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Artifact(path=path, content_type=_JSON)


def _page(path: Path, text: str) -> Artifact:
    path.write_text(text, encoding="utf-8")
    return Artifact(path=path, content_type="text/html; charset=utf-8")


def _checkpoint(last: Path | None, folder: Path) -> list[Artifact]:
    if last is None:
        return []
    path = folder / "checkpoint.safetensors"
    if last.resolve() != path.resolve():
        shutil.copyfile(last, path)
    return [Artifact(path=path, content_type="application/x-safetensors")]
