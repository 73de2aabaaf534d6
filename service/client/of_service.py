"""What a service can be asked: the acts of a client that concern no job in particular."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial, wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx

from l0core.kind import Kind
from l0core.kinds import KINDS
from service.client.calls import Call, Content, JsonObject, Steps, as_data, as_id, as_object, ask, get, given
from service.client.listing import Listing
from service.client.packages import to_problem
from service.client.patience import IDEMPOTENCY_KEY
from service.client.problem import Array, Problem
from service.client.registering import register, register_kind

P = ParamSpec("P")
T = TypeVar("T")


class HasId(Protocol):
    """A job."""

    @property
    def id(self) -> str:
        """Its id."""


def request(
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: object = None,
    content: Content | None = None,
    headers: Mapping[str, str] | None = None,
) -> Steps[httpx.Response]:
    """Send any request, by the same rules as every other; raises ClientError where it is refused.

    `content` is read anew on every try: bytes, or what gives its pieces as often as it is asked.
    """
    if isinstance(content, Iterator | AsyncIterator):
        raise TypeError("content can be read only once; give bytes, or what gives its pieces as often as it is asked")
    keyed = dict(headers or {}) | (_keyed(headers) if (method, path) == ("POST", "/v1/jobs") else {})
    call = Call(method=method, path=path, read=_itself, query=params or {}, json=json, content=content, headers=keyed)
    return (yield from ask(call))


def _keyed(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Give the key of a submission: its own, or a new one."""
    given_keys = (value for name, value in (headers or {}).items() if name.lower() == IDEMPOTENCY_KEY.lower())
    return {IDEMPOTENCY_KEY: next(given_keys, None) or str(uuid.uuid4())}


def _itself(reply: httpx.Response) -> httpx.Response:
    return reply


def _taking_fields(
    act: Callable[[Problem], Steps[T]], fields: Callable[P, Problem], *, name: str, gives: str
) -> Callable[P, Steps[T]]:
    """Give an act on a problem as one that takes the problem's fields."""

    @wraps(fields)
    def taking(*args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        return act(fields(*args, **kwargs))

    taking.__name__, taking.__doc__ = name, f"{gives}\n\n{Problem.__doc__}"
    return taking


problem = _taking_fields(
    register, Problem, name="problem", gives="Register a calibration problem; gives its id, sizes and findings."
)
check = _taking_fields(
    partial(register, validate_only=True),
    Problem,
    name="check",
    gives="Give sizes and findings of a problem; nothing is kept.",
)


def submit(
    problem_id: str,
    *,
    kind: str = "calibration",
    seed: int = 0,
    device: str = "auto",
    tags: Mapping[str, str] | None = None,
    log_every: int | None = None,
    checkpoint_every: int | None = None,
    deadline_seconds: float | None = None,
    max_attempts: int | None = None,
    webhook_url: str | None = None,
    resume_from: HasId | str | Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    **hyperparameters: Any,
) -> Steps[str]:
    """Submit a job on a registered problem of this kind; `schema(kind)` tells every hyperparameter.

    `resume_from` is a job, its id, or {"job_id": ..., "checkpoint": ...}. The request carries an Idempotency-Key, of
    its own unless one is given, and so may be tried again: it is one job however often it is sent.
    """
    asked = {
        "tags": None if tags is None else dict(tags),
        "log_every": log_every,
        "checkpoint_every": checkpoint_every,
        "deadline_seconds": deadline_seconds,
        "max_attempts": max_attempts,
        "webhook_url": webhook_url,
        "resume_from": _origin(resume_from),
    }
    body = {
        "kind": kind,
        "problem_id": problem_id,
        "seed": seed,
        "device": device,
        "hyperparameters": hyperparameters,
        **given(**asked),
    }
    headers = _keyed(None if idempotency_key is None else {IDEMPOTENCY_KEY: idempotency_key})
    return (yield from ask(Call(method="POST", path="/v1/jobs", read=as_id, json=body, headers=headers)))


def _origin(resume_from: HasId | str | Mapping[str, str] | None) -> dict[str, str] | None:
    if resume_from is None or isinstance(resume_from, Mapping):
        return None if resume_from is None else dict(resume_from)
    return {"job_id": _id_of(resume_from)}


def _id_of(job: HasId | str) -> str:
    return job if isinstance(job, str) else job.id


def calibrate(
    matrix: object,
    targets: Array,
    *,
    initial_weights: Array | None = None,
    target_names: Sequence[str] | None = None,
    target_groups: Array | Sequence[int] | None = None,
    target_weights: Array | None = None,
    target_scales: Array | None = None,
    target_tolerances: Array | None = None,
    holdout: Array | Sequence[bool] | None = None,
    weight_bounds: Mapping[str, Array] | None = None,
    protected_units: Array | None = None,
    **submission: Any,
) -> Steps[str]:
    """Register a problem and submit its calibration in one call.

    The fields are those of `problem`; all else (seed, device, tags, hyperparameters) is as in `submit`.
    """
    problem = Problem(
        matrix,
        targets,
        initial_weights=initial_weights,
        target_names=target_names,
        target_groups=target_groups,
        target_weights=target_weights,
        target_scales=target_scales,
        target_tolerances=target_tolerances,
        holdout=holdout,
        weight_bounds=weight_bounds,
        protected_units=protected_units,
    )
    return (yield from calibrate_problem(problem, **submission))


def calibrate_problem(problem: Problem, **submission: Any) -> Steps[str]:
    """Register a problem and submit its calibration, asked for as in `submit`; tags are given to both."""
    tagged = replace(problem, tags=submission.get("tags", problem.tags))
    registered = yield from register(tagged)
    return (yield from submit(registered["id"], **submission))


def calibrate_package(package: Mapping[str, Any], **submission: Any) -> Steps[str]:
    """Calibrate PolicyEngine's calibration package (see `to_problem`), asked for as in `submit`."""
    return (yield from calibrate_problem(to_problem(package), **submission))


def solve(kind: str, *, tags: Mapping[str, str] | None = None, **asked: Any) -> Steps[str]:
    """Register a problem of any kind and submit a job on it in one call.

    The fields are those of `schema(kind)["inputs"]`, sent as by `register_kind`; all else (seed, device,
    hyperparameters) is as in `submit`. Tags are given to both.
    """
    fields = _known(kind).inputs.model_fields
    inputs = {name: value for name, value in asked.items() if name in fields}
    registered = yield from register_kind(kind, tags=tags, **inputs)
    rest = {name: value for name, value in asked.items() if name not in fields}
    return (yield from submit(registered["id"], kind=kind, tags=tags, **rest))


def sample(features: object, *, count: int, **asked: Any) -> Steps[str]:
    """Choose exactly `count` units (or columns) that represent the whole; all else is as in `solve("sampling")`."""
    return (yield from solve("sampling", features=features, count=count, **asked))


def prune(features: object, outcome: object, *, network: Mapping[str, Any], **asked: Any) -> Steps[str]:
    """Train a network and prune it to a small one; all else is as in `solve("pruning")`."""
    return (yield from solve("pruning", features=features, outcome=outcome, network=network, **asked))


def _known(kind: str) -> Kind:
    if kind not in KINDS:
        raise ValueError(f"there is no kind '{kind}'; there are {', '.join(KINDS)}")
    return KINDS[kind]


def jobs(
    *,
    status: str | None = None,
    kind: str | None = None,
    tags: Mapping[str, str] | None = None,
    created_after: datetime | str | None = None,
) -> Listing:
    """Give jobs, the newest first, as they are asked for; `tags` must all be there."""
    by_tag = {f"tag.{name}": value for name, value in (tags or {}).items()}
    query = given(status=status, kind=kind, created_after=_moment(created_after), limit=100)
    return Listing(path="/v1/jobs", query=query | by_tag)


def _moment(when: datetime | str | None) -> str | None:
    """Give a moment as the service reads it; one without a time zone is of this machine's."""
    return when.astimezone().isoformat() if isinstance(when, datetime) else when


def problems(*, kind: str | None = None) -> Listing:
    """Give registered problems, the newest first."""
    return Listing(path="/v1/problems", query=given(kind=kind, limit=100))


def schema(kind: str = "calibration") -> Steps[JsonObject]:
    """Give hyperparameters and inputs of a kind of job as JSON Schema: meaning, default and range of each."""
    return (yield from ask(get(f"/v1/methods/{kind}/schema", as_object)))


def capabilities() -> Steps[JsonObject]:
    """Give limits, formats, kinds of job, devices and versions of the service."""
    return (yield from ask(get("/v1/capabilities", as_object)))


def workers() -> Steps[list[JsonObject]]:
    """Give the workers seen lately."""
    return (yield from ask(get("/v1/workers", as_data)))


def compare(a: HasId | str, b: HasId | str, *, limit: int | None = None) -> Steps[JsonObject]:
    """Compare job b with job a on the targets both have; at most `limit` of the largest changes."""
    return (yield from ask(get("/v1/compare", as_object, a=_id_of(a), b=_id_of(b), limit=limit)))
