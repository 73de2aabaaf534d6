"""What the engine can do, from the engine's own declarations."""

from typing import Any

from fastapi import APIRouter

from l0core.kinds import KINDS
from service.api.questions import form_of
from service.errors import NotFound

router = APIRouter(prefix="/v1/methods", tags=["methods"])


@router.get("")
def list_methods() -> dict[str, Any]:
    """Give the kinds of job."""
    return {"data": [{"kind": kind.name, "summary": kind.summary} for kind in KINDS.values()]}


@router.get("/{kind}/schema")
def method_schema(kind: str) -> dict[str, Any]:
    """Give hyperparameters and inputs of a kind as JSON Schema: meaning, default and range of each."""
    if kind not in KINDS:
        raise NotFound(f"there is no kind '{kind[:64]}'; there are {', '.join(KINDS)}")
    found = KINDS[kind]
    form = form_of(found)
    return {
        "kind": found.name,
        "summary": found.summary,
        "hyperparameters": found.hyperparameters.model_json_schema(),
        "inputs": found.inputs.model_json_schema(),
        "question": None if form is None else form.model_json_schema(),
        "tables": {name: dict(table.columns) for name, table in found.tables.items()},
        "metrics": list(found.curves),
        "artifacts": dict(found.artifacts),
    }
