"""The OpenAPI document: FastAPI's, with what each route answers and refuses. One table; `make fuzz` holds it to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api import schemas as s
from service.api.examples import EXAMPLES
from service.api.questions import FORMS

_REFUSAL = "application/problem+json"
_EVERYWHERE = (401, 403, 421, 422, 429, 500, 503)
_UNUSED = ("HTTPValidationError", "ValidationError")  # refusals are problem objects
_KEY = "An API key; not asked for on the loopback address unless keys are on."
_MADE = {"create_upload": "upload_id", "create_problem": "problem_id", "create_job": "job_id", "retry_job": "job_id"}
_REF = "#/components/schemas/{model}"
Model = type[BaseModel]


@dataclass(frozen=True, kw_only=True)
class Says:
    """What a route answers, by status, the refusals it has beside those of every route, and bodies it reads itself."""

    answers: dict[int, Model] = field(default_factory=dict)
    refuses: tuple[int, ...] = ()
    asked: tuple[Model, ...] = ()


_JOB = (404,)
_KEPT = (404, 410)
_RESULT = (404, 409, 410)
_BODY = (400, 413, 415)

ROUTES: dict[str, Says] = {
    "create_job": Says(answers={200: s.Job, 202: s.Job}, refuses=(*_BODY, 404, 409, 410, 507)),
    "get_job": Says(answers={200: s.Job}, refuses=_JOB),
    "list_jobs": Says(answers={200: s.Jobs}),
    "cancel_job": Says(answers={200: s.Job, 202: s.Job}, refuses=(404, 409)),
    "retry_job": Says(answers={201: s.Job}, refuses=(404, 409, 507)),
    "delete_job": Says(refuses=(404, 409)),
    "get_events": Says(answers={200: s.Events}, refuses=_JOB),
    "get_log": Says(refuses=_JOB),
    "healthz": Says(answers={200: s.Alive}),
    "readyz": Says(answers={200: s.Readiness, 503: s.Readiness}),
    "list_workers": Says(answers={200: s.Workers}),
    "get_capabilities": Says(answers={200: s.Capabilities}),
    "list_methods": Says(answers={200: s.Methods}),
    "method_schema": Says(answers={200: s.MethodSchema}, refuses=(404,)),
    "create_upload": Says(answers={200: s.StoredUpload, 201: s.StoredUpload}, refuses=(*_BODY, 408, 507)),
    "find_upload": Says(answers={200: s.StoredUpload}, refuses=(404,)),
    "has_upload": Says(refuses=(404,)),
    "get_upload": Says(answers={200: s.StoredUpload}, refuses=(404,)),
    "create_problem": Says(answers={200: s.ProblemReport, 201: s.ProblemReport}, refuses=(*_BODY, 404, 507)),
    "get_problem": Says(answers={200: s.ProblemReport}, refuses=(404,)),
    "list_problems": Says(answers={200: s.Problems}),
    "get_problem_targets": Says(answers={200: s.ProblemTargets}, refuses=(404,)),
    "delete_problem": Says(refuses=(404, 409)),
    "get_findings": Says(answers={200: s.Findings}, refuses=_JOB),
    "get_metrics": Says(answers={200: s.Curves}, refuses=(*_KEPT, 406, 416, 507)),
    "get_weights": Says(answers={200: s.Weights}, refuses=(*_RESULT, 406, 416, 507)),
    "get_predictions": Says(answers={200: s.Predictions}, refuses=(*_RESULT, 507)),
    "predict": Says(answers={200: s.Answer}, refuses=(*_BODY, *_RESULT, 507), asked=FORMS),
    "get_targets": Says(answers={200: s.Targets}, refuses=_RESULT),
    "list_checkpoints": Says(answers={200: s.Checkpoints}, refuses=_KEPT),
    "list_artifacts": Says(answers={200: s.Artifacts}, refuses=_KEPT),
    "get_artifact": Says(refuses=(*_RESULT, 416)),
    "get_webhook": Says(answers={200: s.Webhook}, refuses=_JOB),
    "get_webhook_secret": Says(answers={200: s.WebhookSecret}),
    "rotate_webhook_secret": Says(answers={200: s.WebhookSecret}),
    "compare": Says(answers={200: s.Comparison}, refuses=_RESULT),
    "scrape": Says(),
    "get_status": Says(answers={200: s.PolicyEngineStatus, 202: s.PolicyEngineStatus}, refuses=_JOB),
}


ROUTES |= {
    f"get_{name}": Says(answers={200: model}, refuses=(*_RESULT, 406, 416, 507)) for name, model in s.TABLES.items()
}


def name_of(route: APIRoute) -> str:
    """Give the operation's id: the name of its function, which is what a generated client calls it."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """Give the document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for operation in _operations(made):
            _complete(operation, ROUTES[operation["operationId"]])
        for name, examples in EXAMPLES.items():
            _operation(made, name)["requestBody"]["content"]["application/json"]["examples"] = examples
        for path in made["paths"].values():
            for response in path.get("head", {}).get("responses", {}).values():
                response.pop("content", None)
        _link(made)
        components = made["components"]
        components["schemas"] = {k: v for k, v in components["schemas"].items() if k not in _UNUSED} | _schemas()
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": _KEY}}
        made["security"] = [{"key": []}, {}]
        app.openapi_schema = made
    return app.openapi_schema


def _operations(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in made["paths"].values():
        yield from path.values()


def _operation(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(operation for operation in _operations(made) if operation["operationId"] == name)


def _complete(operation: dict[str, Any], says: Says) -> None:
    if says.asked:
        forms = [{"$ref": _REF.format(model=model.__name__)} for model in says.asked]
        operation["requestBody"]["content"]["application/json"]["schema"] = {"anyOf": forms}
    responses = operation["responses"]
    for status, model in says.answers.items():
        answer = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
        content = answer.setdefault("content", {})
        content["application/json"] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    for status in {*_EVERYWHERE, *says.refuses} - set(says.answers):
        responses[str(status)] = _refusal(status)
    operation["responses"] = dict(sorted(responses.items()))


def _link(made: dict[str, Any]) -> None:
    """Say of each route that makes something which routes take its id (OpenAPI links)."""
    for operation in _operations(made):
        wanted = _MADE.get(operation["operationId"])
        links = {taker["operationId"]: _link_to(taker, wanted) for taker in _operations(made) if _takes(taker, wanted)}
        for status, response in operation["responses"].items():
            if links and status < "300":
                response["links"] = links


def _takes(operation: dict[str, Any], name: str | None) -> bool:
    return any(parameter["in"] == "path" and parameter["name"] == name for parameter in operation.get("parameters", ()))


def _link_to(operation: dict[str, Any], name: str | None) -> dict[str, Any]:
    return {"operationId": operation["operationId"], "parameters": {name: "$response.body#/id"}}


def _refusal(status: int) -> dict[str, Any]:
    content = {_REFUSAL: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _schemas() -> dict[str, Any]:
    """Give the schemas of all answers, and of bodies that routes read themselves, by name with all they are made of."""
    answers = {model for says in ROUTES.values() for model in says.answers.values()} | {s.Problem}
    asked = {model for says in ROUTES.values() for model in says.asked}
    modes: list[tuple[Model, JsonSchemaMode]] = [(model, "serialization") for model in answers]
    modes += [(model, "validation") for model in asked]
    _, found = models_json_schema(sorted(modes, key=lambda pair: pair[0].__name__), ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    return schemas
