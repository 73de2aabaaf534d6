"""Examples of request bodies, for the OpenAPI document: what each kind declares, and what goes with files and ids.

Those that name nothing made up are sent by a test.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from l0core.kind import Kind
from l0core.kinds import KINDS

_PROBLEM, _OTHER = "prb_01k9zq7v3m8w2t5x4c6n1r0abc", "prb_01k9zq7v3m8w2t5x4c6n1r0abd"
Examples = dict[str, dict[str, Any]]


def examples_of(kinds: Mapping[str, Kind]) -> dict[str, Examples]:
    """Give what kinds declare of themselves, by operation."""
    found: dict[str, Examples] = {"create_problem": {}, "create_job": {}, "predict": {}}
    for kind in kinds.values():
        for operation, value in _of_kind(kind):
            summary = "" if kind.example is None else kind.example.summary
            found[operation][kind.name] = {"summary": summary, "value": value}
    return found


def _of_kind(kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind.example is None:
        return
    yield "create_problem", {"kind": kind.name, **kind.example.problem}
    asked = dict(kind.example.hyperparameters)
    yield "create_job", {"kind": kind.name, "problem_id": _PROBLEM, "hyperparameters": asked, "seed": 7}
    if kind.example.question is not None:
        yield "predict", dict(kind.example.question)


_OURS: dict[str, Examples] = {
    "create_problem": {
        "uploaded": {
            "summary": "Matrix, totals and design weights that were uploaded before",
            "value": {
                "kind": "calibration",
                "matrix": {"upload_id": "upl_01k9zq7v3m8w2t5x4c6n1r0abc"},
                "targets": {"upload_id": "upl_01k9zq7v3m8w2t5x4c6n1r0abd"},
                "initial_weights": {"upload_id": "upl_01k9zq7v3m8w2t5x4c6n1r0abe"},
                "tags": {"year": "2026"},
            },
        },
    },
    "create_job": {
        "resumed": {
            "summary": "More epochs from where an earlier job stood",
            "value": {
                "kind": "calibration",
                "problem_id": _PROBLEM,
                "hyperparameters": {"selector": "gates", "epochs": 1000, "learning_rate_schedule": "constant"},
                "resume_from": {"job_id": "job_01k9zq7v3m8w2t5x4c6n1r0abc"},
            },
        },
    },
    "predict": {
        "problem": {"summary": "Totals of another problem over the same units", "value": {"problem_id": _OTHER}},
    },
}
EXAMPLES = {name: declared | _OURS[name] for name, declared in examples_of(KINDS).items()}
