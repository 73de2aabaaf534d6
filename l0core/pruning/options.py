"""The hyperparameters of a pruning: the one source for API, command line, worker and documentation.

Each is documented under its field, once: what it means, its unit, its usual range, what happens at the ends. A name
that is not here is refused, never ignored.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SIZE_CONTROLS = ("target_sparsity", "target_parameters", "lambda_l0")
DEFAULT_SPARSITY = 0.9
_LayerIndex = Annotated[int, Field(ge=0, le=63)]


class PruningHyperparameters(BaseModel):
    """How a network is trained, pruned and trained again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    target_sparsity: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of the network's parameters (weights and biases) that goes; 0 keeps all. "
        f"{DEFAULT_SPARSITY} when none of `target_sparsity`, `target_parameters` and `lambda_l0` is given. Met within "
        "1 % of the network's parameters.",
    )
    target_parameters: int | None = Field(
        default=None, ge=1, description="How many parameters stay, as a number; met as closely."
    )
    lambda_l0: float | None = Field(
        default=None,
        ge=0,
        description="Price of one parameter in the loss summed over the training rows (nats of cross-entropy; for a "
        "regression squared error in units of the outcome's variance). 1 is Akaike's, log(rows) / 2 Schwarz's; higher "
        "keeps fewer, 0 prices nothing. How many stay is then found, not set.",
    )
    structured: bool | Annotated[list[_LayerIndex], Field(max_length=64)] = Field(
        default=True,
        description="`true`: whole units (features, channels) of every layer but the last go, so that the network gets "
        "smaller and faster. `false`: single weights of all layers go. A list of layer indices: these by units, the "
        "others by weights.",
    )
    lambda_l2: float = Field(
        default=1e-5,
        ge=0,
        le=1e6,
        description="Price of the sum of squared weights in the mean loss; 0 to 0.001 is usual.",
    )
    learning_rate: float = Field(
        default=0.003,
        gt=0,
        le=1,
        description="Adam's first step on weights and biases, which falls along a cosine to a twentieth over `epochs`, "
        "and again over `finetune_epochs`; gates take ten times as much. 0.0003 to 0.01 is usual.",
    )
    epochs: int = Field(
        default=60, ge=1, le=1_000_000, description="Passes over the training rows with gates; 30 to 300 is usual."
    )
    batch_size: int = Field(
        default=64, ge=1, le=1_000_000, description="Rows a step; the last step of an epoch takes what is left."
    )
    temperature_start: float = Field(
        default=1.0, gt=0, le=10, description="Temperature of the gates at the first epoch; higher is softer."
    )
    temperature_end: float = Field(
        default=0.2,
        gt=0,
        le=10,
        description="Temperature of the gates at the last epoch; lower is closer to open-or-closed.",
    )
    init_sparsity: float = Field(
        default=0.1, gt=0, lt=1, description="1 - sigmoid(log_alpha) at the start; near 0 starts with every gate open."
    )
    finetune_epochs: int = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description="Passes over the training rows after the choice, with what was chosen and without gates.",
    )

    @model_validator(mode="after")
    def _one_size_control(self) -> Self:
        given = [name for name in SIZE_CONTROLS if getattr(self, name) is not None]
        if len(given) > 1:
            msg = f"{' and '.join(given)} exclude one another: give one of {', '.join(SIZE_CONTROLS)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _it_cools(self) -> Self:
        if self.temperature_end > self.temperature_start:
            msg = (
                f"temperature_end {self.temperature_end} is above temperature_start {self.temperature_start}: "
                "gates go from soft to sharp"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _no_layer_twice(self) -> Self:
        if isinstance(self.structured, list) and len(set(self.structured)) < len(self.structured):
            msg = f"structured names a layer twice: {self.structured}"
            raise ValueError(msg)
        return self

    @property
    def all_epochs(self) -> int:
        """With gates and after them."""
        return self.epochs + self.finetune_epochs
