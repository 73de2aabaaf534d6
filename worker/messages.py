"""What the child tells its worker: one JSON object a line, on a pipe of their own."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_FROZEN = ConfigDict(frozen=True)


class Assignment(BaseModel):
    """What the child is asked to run: the worker's claim, and where its files go."""

    model_config = _FROZEN

    job_id: str
    attempt: int
    token: str
    kind: str
    problem_key: str
    hyperparameters: dict[str, Any]
    seed: int
    device: str
    log_every: int | None
    checkpoint_every: int | None
    checkpoint_epoch: int | None = None
    checkpoint_key: str | None
    checkpoint_sha256: str | None
    continues: bool = False  # the checkpoint is another run's, and this one goes on from where that stood
    folder: str


class StageMessage(BaseModel):
    """A stage was entered."""

    type: Literal["stage"] = "stage"
    stage: str


class EpochMessage(BaseModel):
    """The numbers of a logged epoch; one that is not finite is null."""

    type: Literal["epoch"] = "epoch"
    epoch: int
    epochs: int
    metrics: dict[str, float | None]


class FindingMessage(BaseModel):
    """A finding; its value is null where it is no finite number."""

    type: Literal["finding"] = "finding"
    code: str
    severity: str
    message: str
    target: str | None = None
    index: int | None = None
    value: float | None = None


class CheckpointMessage(BaseModel):
    """A checkpoint is in the store, whole."""

    type: Literal["checkpoint"] = "checkpoint"
    epoch: int
    storage_key: str
    sha256: str
    size_bytes: int


class TargetsMessage(BaseModel):
    """Some rows of the per-target table."""

    type: Literal["targets"] = "targets"
    rows: list[dict[str, Any]]


class ArtifactMessage(BaseModel):
    """An artifact is in the store, whole."""

    type: Literal["artifact"] = "artifact"
    name: str
    storage_key: str
    sha256: str
    size_bytes: int
    content_type: str


class DoneMessage(BaseModel):
    """The run has a result and everything it leaves is in the store."""

    type: Literal["done"] = "done"
    summary: dict[str, Any]


class StoppedMessage(BaseModel):
    """The run stopped because it was told to; its last checkpoint is in the store."""

    type: Literal["stopped"] = "stopped"
    epoch: int


class FailedMessage(BaseModel):
    """The run ended in an error that a table in `failures` knows."""

    type: Literal["failed"] = "failed"
    code: str
    detail: str
    pointer: str = ""
    retry: bool = False


Message = Annotated[
    StageMessage
    | EpochMessage
    | FindingMessage
    | CheckpointMessage
    | TargetsMessage
    | ArtifactMessage
    | DoneMessage
    | StoppedMessage
    | FailedMessage,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Message)


def decode(line: bytes) -> Message:
    """Read one line."""
    return _ADAPTER.validate_json(line)
