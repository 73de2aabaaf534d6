"""Examples of request bodies, for the OpenAPI document; those that name nothing made up are sent by a test."""

from typing import Any

_MATRIX = {"coo": {"shape": [2, 3], "row": [0, 0, 1], "col": [0, 1, 2], "data": [1.0, 2.0, 3.0]}}
Examples = dict[str, dict[str, Any]]

EXAMPLES: dict[str, Examples] = {
    "create_problem": {
        "inline": {
            "summary": "Two totals over three households, inline: for small matrices",
            "value": {
                "kind": "calibration",
                "matrix": _MATRIX,
                "targets": [10.0, 20.0],
                "target_names": ["people", "income"],
                "initial_weights": [1.5, 2.0, 4.0],
            },
        },
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
        "budget": {
            "summary": "Exactly 400 households",
            "value": {
                "kind": "calibration",
                "problem_id": "prb_01k9zq7v3m8w2t5x4c6n1r0abc",
                "hyperparameters": {"record_budget": 400, "epochs": 500},
                "seed": 7,
            },
        },
        "resumed": {
            "summary": "More epochs from where an earlier job stood",
            "value": {
                "kind": "calibration",
                "problem_id": "prb_01k9zq7v3m8w2t5x4c6n1r0abc",
                "hyperparameters": {"selector": "gates", "epochs": 1000, "learning_rate_schedule": "constant"},
                "resume_from": {"job_id": "job_01k9zq7v3m8w2t5x4c6n1r0abc"},
            },
        },
    },
    "predict": {
        "matrix": {"summary": "Totals of another matrix over the same units", "value": {"matrix": _MATRIX}},
        "problem": {
            "summary": "Totals of another problem over the same units",
            "value": {"problem_id": "prb_01k9zq7v3m8w2t5x4c6n1r0abd"},
        },
    },
}
