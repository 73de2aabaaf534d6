"""The hyperparameters of a sampling: the one source for API, command line, worker and documentation."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_RANDOM_FRACTION = 0.5
MOST_COVERAGE = 2_000
_OF_UNITS = ("lambda_l0", "learning_rate", "moments", "coverage")


class SamplingHyperparameters(BaseModel):
    """What is chosen, how many, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    mode: Literal["samples", "features", "hybrid"] = Field(
        default="samples",
        description="`samples`: units whose weighted totals are those of the whole; `hybrid`: part of the units drawn "
        "at random, with known inclusion probabilities; `features`: columns that explain the outcome.",
    )
    count: int = Field(ge=1, le=2**31, description="Exact number of units, or of columns, that are chosen.")
    random_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description=f"With mode `hybrid`: the share of `count` that is drawn at random; {DEFAULT_RANDOM_FRACTION} when "
        "not given. Rounded to whole units, of which each part needs one.",
    )
    lambda_l0: float | None = Field(
        default=None,
        ge=0,
        description="Price of one unit in the summed loss, held through the selection; when not given it follows the "
        "number of units. Exactly `count` are chosen either way.",
    )
    epochs: int = Field(
        default=500,
        ge=1,
        le=10_000_000,
        description="Passes over the columns in the selection of units, 250 to 2,000 is usual; with mode `features` "
        "the most rounds of exchanges.",
    )
    learning_rate: float = Field(
        default=0.1, gt=0, le=10, description="Adam's step in the selection of units; 0.01 to 0.3 is usual."
    )
    moments: Literal[1, 2] = Field(
        default=1,
        description="1: the columns' totals are reproduced; 2: the totals of their squares too, and so their spreads.",
    )
    coverage: int | None = Field(
        default=None,
        ge=0,
        le=MOST_COVERAGE,
        description="How many smooth functions of a unit's ranks in the columns have their totals reproduced too, so "
        "that what is chosen is spread like the whole, also in what no column tells. 0: none. When not given a fifth "
        "of `count`, 100 at most, and fewer for more than a million units.",
    )
    task: Literal["regression", "classification"] = Field(
        default="regression",
        description="With mode `features`: `regression` explains the outcome by least squares, `classification` by "
        "logistic regression on class ids.",
    )
    comparisons: int = Field(
        default=10,
        ge=0,
        le=1_000,
        description="How many random and how many stratified draws of the same size, reweighted alike, the result is "
        "held against (with mode `features` random columns); 0: none. Each costs a refit.",
    )

    @model_validator(mode="after")
    def _settings_have_a_part(self) -> Self:
        for name, modes in _PARTS.items():
            if self.mode not in modes and getattr(self, name) != type(self).model_fields[name].default:
                msg = f"{name} has no part in mode '{self.mode}', only in {' and '.join(modes)}: leave it out"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _both_parts_have_units(self) -> Self:
        if self.mode == "hybrid" and not 0 < self.n_random < self.count:
            msg = (
                f"random_fraction {self._share:g} of a count of {self.count} is {self.n_random} units by chance and "
                f"{self.count - self.n_random} others: give a count and a fraction at which each part has one"
            )
            raise ValueError(msg)
        return self

    @property
    def n_random(self) -> int:
        """How many units are drawn at random."""
        return round(self._share * self.count) if self.mode == "hybrid" else 0

    @property
    def _share(self) -> float:
        return DEFAULT_RANDOM_FRACTION if self.random_fraction is None else self.random_fraction


_PARTS = {
    "random_fraction": ("hybrid",),
    "task": ("features",),
    **dict.fromkeys(_OF_UNITS, ("samples", "hybrid")),
}
