"""Request bodies, built from the list of kinds: a new kind needs no line here."""

from typing import Annotated, Any, Literal, Union

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from l0core.kind import Kind
from l0core.kinds import KINDS

Tags = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]],
    Field(max_length=32, description="Your own labels."),
]
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_LARGEST_SEED = 2**63 - 1
_MOST_EPOCHS = 10_000_000


class ResumeFromBody(BaseModel):
    """A checkpoint of an earlier job on the same problem."""

    model_config = _STRICT

    job_id: Annotated[str, Field(max_length=64, description="Id of the earlier job, whatever became of it.")]
    checkpoint: Annotated[
        str, Field(max_length=64, description="`latest`, or an id that GET /v1/jobs/{id}/checkpoints gave.")
    ] = "latest"


class JobBase(BaseModel):
    """What every job is asked for with, whatever its kind."""

    model_config = _STRICT

    problem_id: Annotated[str, Field(max_length=64, description="Id that POST /v1/problems gave.")]
    seed: Annotated[int, Field(ge=0, le=_LARGEST_SEED, description="Source of every random number of the run.")] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="`auto`: a GPU where a GPU worker was seen lately, else the CPU; decided at submission."),
    ] = "auto"
    log_every: Annotated[
        int | None, Field(ge=1, le=_MOST_EPOCHS, description="Epochs between two points of a curve.")
    ] = None
    checkpoint_every: Annotated[
        int | None, Field(ge=1, le=_MOST_EPOCHS, description="Epochs between two checkpoints.")
    ] = None
    deadline_seconds: Annotated[
        float | None, Field(gt=0, le=30 * 86400, description="The job fails if it has not ended by then.")
    ] = None
    max_attempts: Annotated[int, Field(ge=1, le=100, description="How many workers may die on it.")] = 3
    tags: Tags = Field(default_factory=dict)
    webhook_url: Annotated[
        str | None,
        Field(max_length=2000, description="Where the end of the job is posted to, signed; https://host/path."),
    ] = None
    resume_from: Annotated[
        ResumeFromBody | None,
        Field(
            description="Begin where an earlier job stood: taken up again to the bit where the request is the same, "
            "else with this request's own epochs and settings from there."
        ),
    ] = None


def _literal(name: str) -> Any:
    return Literal[name]


def job_body(kind: Kind) -> type[BaseModel]:
    """Give the body of POST /v1/jobs for a kind."""
    return create_model(
        f"{kind.name.capitalize()}Job",
        __base__=JobBase,
        __doc__=kind.summary,
        kind=(_literal(kind.name), ...),
        hyperparameters=(kind.hyperparameters, _usual(kind.hyperparameters)),
    )


def _usual(hyperparameters: type[BaseModel]) -> Any:
    """Give the field that takes a kind's hyperparameters: all as usual by default, where none has to be said."""
    try:
        hyperparameters()
    except ValidationError:
        return ...
    return Field(default_factory=hyperparameters)


def problem_body(kind: Kind) -> type[BaseModel]:
    """Give the body of POST /v1/problems for a kind."""
    return create_model(
        f"{kind.name.capitalize()}Problem",
        __base__=kind.inputs,
        __doc__=kind.inputs.__doc__,
        kind=(_literal(kind.name), ...),
        tags=(Tags, Field(default_factory=dict)),
    )


def one_of(models: list[type[BaseModel]]) -> Any:
    """Give the union of the models by their `kind`; a union of one is that one."""
    if len(models) == 1:
        return Annotated[models[0], Body()]
    return Annotated[Union[tuple(models)], Body(discriminator="kind")]  # noqa: UP007 - built at run time


JobBody = one_of([job_body(kind) for kind in KINDS.values()])
ProblemBody = one_of([problem_body(kind) for kind in KINDS.values()])


def inputs_of(body: BaseModel, kind: Kind) -> BaseModel:
    """Give a problem body's own fields as the kind's inputs."""
    return kind.inputs.model_construct(**{name: getattr(body, name) for name in kind.inputs.model_fields})
