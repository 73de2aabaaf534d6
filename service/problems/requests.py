"""What is asked of the parsing process, as JSON."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from l0core.inputs import MatrixInput
from service.problems.limits import Limits


class UploadedFile(BaseModel):
    """An upload on this machine's disk."""

    path: str
    content_type: str


class BuildRequest(BaseModel):
    """Build and check a problem; write it to `output` unless that is empty. `inputs` is the kind's body as JSON."""

    task: Literal["build"] = "build"
    kind: str
    inputs: str
    uploads: dict[str, UploadedFile]
    limits: Limits
    output: str


class MatrixBody(BaseModel):
    """A matrix over the units of a job's problem."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    matrix: MatrixInput


class PredictionBody(BaseModel):
    """What shall be predicted: the totals of a matrix over the units of a job's problem, or those of a problem."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    matrix: MatrixInput | None = None
    problem_id: Annotated[str | None, Field(max_length=64, description="Id of a problem over the same units.")] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.matrix is None) == (self.problem_id is None):
            raise ValueError("give either matrix or problem_id")
        return self


class MultiplyRequest(BaseModel):
    """Multiply a matrix with the weights in a .npy this service wrote."""

    task: Literal["multiply"] = "multiply"
    inputs: MatrixBody
    weights: str
    uploads: dict[str, UploadedFile]
    limits: Limits


class EstimateRequest(BaseModel):
    """Multiply the matrix of a stored problem with the weights in a .npy, both written by this service."""

    task: Literal["estimate"] = "estimate"
    kind: str
    problem: str
    weights: str
    limits: Limits


class AnswerRequest(BaseModel):
    """Answer a question to a result as its kind does. `inputs` is the question as JSON, `files` are the result's."""

    task: Literal["answer"] = "answer"
    kind: str
    inputs: str
    files: dict[str, str]
    uploads: dict[str, UploadedFile]
    limits: Limits


ParseRequest = Annotated[BuildRequest | MultiplyRequest | EstimateRequest | AnswerRequest, Field(discriminator="task")]
