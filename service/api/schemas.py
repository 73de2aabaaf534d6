"""What the answers look like, for the OpenAPI document. The routes build them; tests hold the two together."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field, create_model

from l0core.kind import Kind
from l0core.kinds import KINDS
from service.jobs.states import Status

Row = TypeVar("Row")
Cell = bool | int | float | str | None


class FieldFault(BaseModel):
    """One fault of a request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or the name of a question.")
    code: str
    detail: str


class Problem(BaseModel):
    """A refusal (RFC 9457), or why a job has failed."""

    type: str
    title: str
    status: int
    detail: str = Field(description="One sentence: what was wrong, with which value, and what to do.")
    instance: str
    code: str = Field(description="Stable; programs decide by it.")
    request_id: str
    retryable: bool
    errors: list[FieldFault]
    expired_at: datetime | None = Field(default=None, description="Of 410: since when the results are gone.")


class Page(BaseModel, Generic[Row]):
    """Some rows of a list, and where the next ones begin."""

    data: list[Row]
    next_cursor: str | None
    has_more: bool


class Listing(BaseModel, Generic[Row]):
    """All rows of a short list."""

    data: list[Row]


class Alive(BaseModel):
    """The process lives."""

    status: str


class Check(BaseModel):
    """One of the things that are needed."""

    ok: bool
    detail: str | None = None


class Readiness(BaseModel):
    """What is needed, each with its state."""

    status: str
    checks: dict[str, Check]


class StoredUpload(BaseModel):
    """Bytes that are held, decoded."""

    id: str
    sha256: str
    size_bytes: int
    content_type: str


class Finding(BaseModel):
    """Something wrong or doubtful; docs/findings.md knows each code."""

    code: str
    severity: str
    message: str
    target: str | None
    index: int | None
    value: float | None


class Findings(Listing[Finding]):
    """What is wrong or doubtful."""


class ProblemReport(BaseModel):
    """A problem that was looked at and, unless only that was asked for, is kept; a kind adds its own sizes."""

    id: str | None = Field(default=None, description="Absent of `validate_only`.")
    sha256: str
    kind: str
    n_targets: int | None = None
    n_units: int | None = None
    nnz: int | None = None
    findings: list[Finding]
    tags: dict[str, str] | None = None
    created_at: datetime | None = None


class Problems(Page[ProblemReport]):
    """Problems, newest first."""


class ProblemTarget(BaseModel):
    """A target as it was given."""

    index: int
    name: str
    value: float
    weight: float
    group: int | None
    holdout: bool
    scale: float | None
    tolerance: float | None


class ProblemTargets(Page[ProblemTarget]):
    """Targets as they were given."""


class Progress(BaseModel):
    """How far a run has come; empty before its first epoch."""

    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    active: float | None = None
    mean_abs_relative_error: float | None = None
    eta_seconds: float | None = None


class ResumedFrom(BaseModel):
    """Where a job began."""

    job_id: str
    checkpoint: str
    epoch: int
    same_run: bool = Field(description="Taken up again to the bit; else gone on from there with other settings.")


class Job(BaseModel):
    """A job as it is."""

    id: str
    kind: str
    status: Status
    stage: str = Field(description="Free word; more may come.")
    progress: Progress
    attempt: int
    max_attempts: int
    stalled: bool
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    expired_at: datetime | None
    problem_id: str
    problem_sha256: str
    hyperparameters: dict[str, Any]
    seed: int
    device: str
    versions: dict[str, str]
    summary: dict[str, Any] | None = Field(description="The result in numbers, once it has succeeded.")
    error: Problem | None = Field(description="Why it failed, once it has.")
    tags: dict[str, str]
    webhook_url: str | None
    retry_of: str | None
    resumed_from: ResumedFrom | None
    version: int
    links: dict[str, str]


class Jobs(Page[Job]):
    """Jobs, newest first."""


class Event(BaseModel):
    """Something that happened to a job; a type adds its own fields."""

    seq: int
    at: datetime
    type: str
    message: str


class Events(BaseModel):
    """Events in order; `next_cursor` is `after` of the next question."""

    data: list[Event]
    next_cursor: int
    has_more: bool


class Curve(BaseModel):
    """A loss curve in parts: the last step and value of each, the bounds of its values, and how many points it has."""

    step: list[int]
    last: list[float | None]
    min: list[float | None]
    max: list[float | None]
    n: int


class Curves(BaseModel):
    """Curves by their key."""

    metrics: dict[str, Curve]


class Weights(BaseModel):
    """Weights as JSON: of the active units by index, or (`active_only=false`) of all units in order."""

    indices: list[int] | None = None
    values: list[float]
    count: int | None = None
    n_units: int


class Predictions(BaseModel):
    """Calibrated totals, in the order of the rows; names where they have some."""

    names: list[str] | None = None
    values: list[float]


class Answer(BaseModel):
    """What a result says about new data; a kind adds what is its own."""

    names: list[str] | None = None
    values: list[Any] = Field(description="Of a weighting a total a row; of a network the outputs of a row.")


class Target(BaseModel):
    """The fit of a target, before and after."""

    index: int
    name: str
    value: float
    initial_estimate: float
    estimate: float
    relative_error: float
    abs_relative_error: float
    group: int | None
    holdout: bool
    price: float | None


class Targets(Page[Target]):
    """The fit of every target."""


def table_models(kinds: Mapping[str, Kind]) -> dict[str, type[BaseModel]]:
    """Give what a table of a result looks like as JSON, by its name: a list a column, and how many rows there are."""
    columns: dict[str, dict[str, Any]] = {}
    for kind in kinds.values():
        for name, table in kind.tables.items():
            columns.setdefault(name, {}).update(dict.fromkeys(table.columns.values(), (list[Cell], ...)))
    made = {name: f"{name.replace('_', ' ').title().replace(' ', '')}Table" for name in columns}
    return {
        name: create_model(made[name], __doc__="A table of a result, by columns.", **fields, count=(int, ...))
        for name, fields in columns.items()
    }


TABLES = table_models(KINDS)


class Checkpoint(BaseModel):
    """A state of a run that is kept."""

    id: str
    epoch: int
    attempt: int
    size_bytes: int
    sha256: str
    created_at: datetime


class Checkpoints(Listing[Checkpoint]):
    """The checkpoints that are kept, the newest first."""


class Artifact(BaseModel):
    """A file of a result."""

    name: str
    size_bytes: int
    sha256: str
    content_type: str


class Artifacts(Listing[Artifact]):
    """The files of a result."""


class Compared(BaseModel):
    """One of two fits."""

    job_id: str
    problem_id: str
    summary: dict[str, Any]


class Change(BaseModel):
    """A target that both fits have."""

    name: str
    value_a: float
    value_b: float
    estimate_a: float
    estimate_b: float
    abs_relative_error_a: float
    abs_relative_error_b: float
    change: float


class Comparison(BaseModel):
    """Two fits on the targets they have in common."""

    a: Compared
    b: Compared
    n_targets: dict[str, int]
    common: int
    improved: int
    regressed: int
    unchanged: int
    mean_abs_relative_error: dict[str, float | None]
    max_abs_relative_error: dict[str, float | None]
    largest_changes: list[Change]


class Method(BaseModel):
    """A kind of job."""

    kind: str
    summary: str


class Methods(Listing[Method]):
    """The kinds of job."""


class MethodSchema(BaseModel):
    """What a kind takes and gives."""

    kind: str
    summary: str
    hyperparameters: dict[str, Any] = Field(description="JSON Schema.")
    inputs: dict[str, Any] = Field(description="JSON Schema.")
    question: dict[str, Any] | None = Field(description="JSON Schema of a question to a result; null without any.")
    tables: dict[str, dict[str, str]] = Field(description="Of each table of a result: its fields, and as what in JSON.")
    metrics: list[str]
    artifacts: dict[str, str]


class Worker(BaseModel):
    """A worker seen lately."""

    id: str
    host: str
    queues: list[str]
    device: str
    kinds: dict[str, int]
    busy: bool
    jobs: list[str]
    versions: dict[str, str]
    started_at: datetime
    seen_at: datetime


class Workers(Listing[Worker]):
    """The workers seen lately."""


class Capabilities(BaseModel):
    """What this service takes, gives and is."""

    kinds: list[str]
    devices: list[str]
    limits: dict[str, float]
    formats: dict[str, Any]
    versions: dict[str, Any]


class WebhookSecret(BaseModel):
    """What your webhooks are signed with."""

    secret: str = Field(description="`whsec_` and the key in base64, as Standard Webhooks has it.")
    created_at: datetime


class Webhook(BaseModel):
    """What became of the message to a job's webhook."""

    id: str = Field(description="The `webhook-id` it is sent under, the same in every try.")
    url: str
    tries: int
    created_at: datetime
    due_at: datetime | None = Field(description="The next try; null where it was delivered or given up.")
    delivered_at: datetime | None


class PolicyEngineStatus(BaseModel):
    """A job in the words that PolicyEngine's clients know."""

    status: str
    result: dict[str, Any] | None
    error: str | None
