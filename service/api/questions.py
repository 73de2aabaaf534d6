"""How results are asked about new data: each kind in its own form, taken from the list of kinds."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from l0core.kind import Kind
from l0core.kinds import KINDS
from service.api.sound_json import json_pointer, refusal
from service.errors import NotFound
from service.problems.requests import PredictionBody


def form_of(kind: Kind) -> type[BaseModel] | None:
    """Give the body of a question to a result of this kind: its own, or that of all weightings; None without any."""
    if kind.question is not None:
        return kind.question.inputs
    return None if kind.weights is None else PredictionBody


def forms_of(kinds: Mapping[str, Kind]) -> tuple[type[BaseModel], ...]:
    """Give each body once."""
    return tuple(dict.fromkeys(form for kind in kinds.values() if (form := form_of(kind)) is not None))


FORMS = forms_of(KINDS)


def asked_of(kind: Kind, body: dict[str, Any]) -> BaseModel:
    """Give a body as a question to a result of this kind; a refusal says what such a result is asked with."""
    form = form_of(kind)
    if form is None:
        raise NotFound(f"a {kind.name} job answers no questions about new data")
    for name in body.keys() - form.model_fields.keys():
        known = " or ".join(form.model_fields)
        raise refusal(f"{name[:64]}: unknown field; a {kind.name} job is asked with {known}", json_pointer([name]))
    try:
        return form.model_validate(body)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults, body=body) from error
