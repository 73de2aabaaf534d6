"""The bodies of `POST /v1/problems` for a pruning, and of questions to a pruned network."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from l0core.inputs import RowsInput, TensorsUpload, VectorInput
from l0core.pruning.network import Network

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
HOLDOUT_FRACTION = 0.2


class PruningInputs(BaseModel):
    """Rows with known outcomes, and the network that shall learn them."""

    model_config = _STRICT

    features: RowsInput = Field(description="n x d numbers, one row a case; scale columns to about 1 first.")
    outcome: VectorInput = Field(description="n numbers, or class ids 0, 1, ... for a classification.")
    task: Literal["classification", "regression"] = Field(description="What the outcome is.")
    network: Network = Field(description="The network before pruning.")
    starting_weights: Annotated[
        TensorsUpload | None,
        Field(
            description="safetensors with `layers.{i}.weight` and `layers.{i}.bias` of every layer i with weights, "
            "shaped as in torch; drawn at random by default."
        ),
    ] = None
    holdout_fraction: Annotated[
        float, Field(ge=0, lt=1, description="Share of the rows that is kept out of the training and judges it.")
    ] = HOLDOUT_FRACTION


class PruningQuestion(BaseModel):
    """New rows for a pruned network."""

    model_config = _STRICT

    features: RowsInput = Field(description="Rows with the columns of the problem's features.")
