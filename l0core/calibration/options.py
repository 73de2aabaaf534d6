"""The hyperparameters of a calibration: the one source for API, command line, worker and documentation.

Each is documented under its field, once: what it means, its unit, its usual range, what happens at the ends. A name
that is not here is refused, never ignored.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SIZE_CONTROLS = ("lambda_l0", "lambda_share", "record_budget")
DEFAULT_LAMBDA_SHARE = 0.1
DEFAULT_LOSS_CAP = 10.0
BUDGET_MIN_WEIGHT_RATIO = 0.01
_OF_GATES = (
    "learning_rate",
    "learning_rate_schedule",
    "epochs",
    "beta",
    "gamma",
    "zeta",
    "init_keep_prob",
    "log_weight_jitter_sd",
    "log_alpha_jitter_sd",
    "gradient",
    "early_stopping",
    "temperature_schedule",
)
_NO_PART = {
    "matching_pursuit": _OF_GATES,
    "dense": (*SIZE_CONTROLS, "lambda_l2", "lambda_spread", "refit", *_OF_GATES),
}


class CalibrationHyperparameters(BaseModel):
    """How a calibration selects units and fits their weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    lambda_l0: float | None = Field(
        default=None,
        ge=0,
        description="Price of one unit in the summed loss. Higher keeps fewer units; 0 keeps all. "
        "Excludes `lambda_share` and `record_budget`.",
    )
    lambda_share: float | None = Field(
        default=None,
        ge=0,
        description="The same price, free of the problem's size: lambda_l0 = lambda_share * (sum of the targets' "
        f"weights) / units. {DEFAULT_LAMBDA_SHARE} when none of the three is given.",
    )
    record_budget: int | None = Field(
        default=None, ge=1, description="Exact number of units with a positive weight at the end."
    )
    lambda_l2: float = Field(
        default=0.0, ge=0, description="Price of the sum of squared weights in units of the survey's weights squared."
    )
    lambda_spread: float = Field(
        default=0.0,
        ge=0,
        description="Price of the mean of (calibrated / design weight)^2 over the units to choose from, 0 where one is "
        "not kept. Higher gives evener weights and a larger effective sample size, at the cost of fit.",
    )
    learning_rate: float = Field(
        default=0.1, gt=0, le=10, description="Adam's step on log-weights and gate locations; 0.01 to 0.3 is usual."
    )
    learning_rate_schedule: Literal["constant", "cosine"] = Field(
        default="cosine", description="`cosine` falls from `learning_rate` to 0 over the epochs; `constant` stays."
    )
    epochs: int = Field(default=500, ge=1, le=10_000_000, description="Passes over the matrix; 250 to 2,000 is usual.")
    early_stopping: bool = Field(
        default=False,
        description="End the selection where it no longer gets better, after `epochs` at the latest, and keep its best "
        "state: 50 times a run (every 10 epochs at the least) the objective is taken under the test-time gates; five "
        "looks without a fall of 0.1 % end it. Never before a budget is reached or a gate could have closed. Costs a "
        "twentieth of the time.",
    )
    loss: Literal["relative", "absolute_relative", "squared"] = Field(
        default="relative",
        description="`relative`: squared error over the target's scale; `absolute_relative`: absolute error over it, "
        "at most `loss_cap`; `squared`: squared error in the target's unit.",
    )
    loss_cap: float | None = Field(
        default=None,
        gt=0,
        description="The most a target can add to the `absolute_relative` loss, before its weight; "
        f"{DEFAULT_LOSS_CAP:g} when not given.",
    )
    beta: float = Field(
        default=0.35, gt=0, le=10, description="Temperature of the gates; lower is closer to open-or-closed."
    )
    temperature_schedule: Literal["constant", "exponential", "linear", "cosine"] = Field(
        default="constant",
        description="How the temperature falls from 2 `beta` to `beta` over the first half of the epochs, in 20 steps: "
        "from soft gates to sharp ones. At the same price it keeps more units than `constant`, which is `beta` "
        "throughout, and evener weights.",
    )
    gamma: float = Field(default=-0.1, lt=0, ge=-10, description="Lower end of the stretch.")
    zeta: float = Field(default=1.1, gt=1, le=10, description="Upper end of the stretch.")
    init_keep_prob: float = Field(
        default=0.999, gt=0, lt=1, description="sigmoid(log_alpha) at the start; near 1 starts with every gate open."
    )
    log_weight_jitter_sd: float = Field(
        default=0.0, ge=0, le=10, description="Spread of the noise added once to the logarithms of the weights."
    )
    log_alpha_jitter_sd: float = Field(
        default=0.01, ge=0, le=10, description="Spread of the noise added once to the gate locations; breaks ties."
    )
    normalize_groups: bool = Field(
        default=True, description="Divide each target's weight by the size of its group, so that groups count alike."
    )
    group_multipliers: dict[Annotated[str, Field(pattern=r"^(0|-?[1-9]\d{0,17})$")], Annotated[float, Field(gt=0)]] = (
        Field(
            default_factory=dict,
            description="Factor on the targets of a group, by group number; 1 where none is given.",
        )
    )
    refit: bool = Field(
        default=True, description="After the selection, fit the weights of the chosen units exactly (convex, float64)."
    )
    max_weight_ratio: float | None = Field(
        default=None, gt=0, description="Upper bound of calibrated over design weight in the refit; none by default."
    )
    min_weight_ratio: float | None = Field(
        default=None,
        ge=0,
        description="Lower bound of calibrated over design weight of a kept unit in the refit; "
        f"0, or {BUDGET_MIN_WEIGHT_RATIO} with a budget so that all its units stay above zero.",
    )
    mass: Literal["free", "conserve"] = Field(
        default="free",
        description="`conserve`: the refit keeps the sum of the weights at the sum of the design weights of all units; "
        "`free`: the sum follows from the targets.",
    )
    zero_prior: Literal["drop", "floor"] = Field(
        default="drop",
        description="Units of design weight 0: `drop` never keeps them, `floor` gives them the smallest positive one.",
    )
    gradient: Literal["expected", "sampled"] = Field(
        default="expected",
        description="`expected`: the expected loss in closed form, no noise; `sampled`: one draw of gates an epoch.",
    )
    selector: Literal["auto", "gates", "matching_pursuit", "dense"] = Field(
        default="auto",
        description="How units are chosen. `gates`: Hard Concrete gates; `matching_pursuit`: one after the other, for "
        "budgets below the number of targets; `dense`: all units are kept (classical calibration, see `distance`); "
        "`auto`: a pursuit where the budget is below the number of targets, it is affordable and no setting of gates "
        "is given, else gates.",
    )
    distance: Literal["linear", "raking", "logit"] | None = Field(
        default=None,
        description="With selector `dense`: what the weights' distance from the design weights is measured by "
        "(Deville and Särndal 1992); linear when not given. `logit` needs both weight ratios.",
    )

    @model_validator(mode="after")
    def _one_size_control(self) -> Self:
        given = [name for name in SIZE_CONTROLS if getattr(self, name) is not None]
        if len(given) > 1:
            msg = f"{' and '.join(given)} exclude one another: give one of {', '.join(SIZE_CONTROLS)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _refit_settings_need_a_refit(self) -> Self:
        bounds = [n for n in ("max_weight_ratio", "min_weight_ratio") if getattr(self, n) is not None]
        if bounds and not self.refit:
            msg = f"{bounds[0]} bounds the weights of the refit, and refit is false: drop one of the two"
            raise ValueError(msg)
        if self.mass == "conserve" and not self.refit:
            msg = "mass 'conserve' is kept by the refit, and refit is false: drop one of the two"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_cap_needs_its_loss(self) -> Self:
        if self.loss_cap is not None and self.loss != "absolute_relative":
            msg = f"loss_cap caps the loss absolute_relative, and loss is {self.loss}: give that loss or leave it out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ratios_leave_room(self) -> Self:
        if self.max_weight_ratio is not None and self.floor_ratio > self.max_weight_ratio:
            msg = f"min_weight_ratio {self.floor_ratio} is above max_weight_ratio {self.max_weight_ratio}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_budget_keeps_its_units(self) -> Self:
        if self.record_budget is not None and self.min_weight_ratio == 0:
            msg = "min_weight_ratio 0 would let units of the record_budget fall to 0: leave it out or give more than 0"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_pursuit_needs_a_budget(self) -> Self:
        if self.selector == "matching_pursuit" and self.record_budget is None:
            msg = "selector matching_pursuit chooses a number of units: give record_budget"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_distance_needs_all_units(self) -> Self:
        if self.distance is not None and self.selector != "dense":
            msg = f"distance belongs to selector dense, and selector is {self.selector}: drop one of the two"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _nothing_set_is_without_a_part(self) -> Self:
        unused = self._set(_NO_PART.get(self.selector, ()))
        if unused:
            msg = f"{unused[0]} has no part in selector {self.selector}: leave it out, or take another selector"
            raise ValueError(msg)
        return self

    @property
    def sets_gates(self) -> bool:
        """Whether a setting that only gates have differs from its default."""
        return bool(self._set(_OF_GATES))

    def _set(self, names: tuple[str, ...]) -> list[str]:
        fields = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields[name].default]

    @property
    def protected_floor_ratio(self) -> float:
        """The lower bound of w/d of a protected unit: above 0, so that it stays."""
        return max(self.floor_ratio, BUDGET_MIN_WEIGHT_RATIO) if not self.min_weight_ratio else self.floor_ratio

    @property
    def floor_ratio(self) -> float:
        """The lower bound of w/d that the refit uses."""
        if self.min_weight_ratio is not None:
            return self.min_weight_ratio
        return BUDGET_MIN_WEIGHT_RATIO if self.record_budget is not None else 0.0
