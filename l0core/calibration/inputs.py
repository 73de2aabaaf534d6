"""The body of `POST /v1/problems` for a calibration."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from l0core.inputs import (
    BooleansInput,
    IntegersInput,
    MatrixInput,
    NumberOrVectorInput,
    OneRowEach,
    TextsInput,
    VectorInput,
)

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class WeightBoundsInput(BaseModel):
    """Bounds of the calibrated weights themselves, not of their ratios to the design weights."""

    model_config = _STRICT

    lower: Annotated[NumberOrVectorInput | None, Field(description="One number >= 0, or N of them.")] = None
    upper: Annotated[
        NumberOrVectorInput | None, Field(description="One number, or N of them, none below the lower bound.")
    ] = None


class CalibrationInputs(BaseModel):
    """Q targets over N units; every array may be given inline or as an upload."""

    model_config = _STRICT

    matrix: Annotated[MatrixInput, OneRowEach(of="targets")] = Field(
        description="Q x N: row i holds what each unit contributes to target i."
    )
    targets: VectorInput = Field(description="Q totals to meet.")
    target_names: Annotated[TextsInput | None, Field(description="Q names; target_0, target_1, ... by default.")] = None
    target_groups: Annotated[IntegersInput | None, Field(description="Q whole numbers; see normalize_groups.")] = None
    target_weights: Annotated[
        VectorInput | None, Field(description="Q numbers > 0: weight of a target in the loss; 1 by default.")
    ] = None
    target_scales: Annotated[
        VectorInput | None,
        Field(
            description="Q numbers > 0: what an error is divided by under the relative loss; by default "
            "max(|value|, 0.001 sum_j |M_ij| d_j)."
        ),
    ] = None
    target_tolerances: Annotated[
        VectorInput | None,
        Field(
            description="Q numbers > 0: a relative error up to this counts as within tolerance; the fit is not touched."
        ),
    ] = None
    holdout: Annotated[
        BooleansInput | None, Field(description="Q booleans: true leaves a target out of the fit and reports it apart.")
    ] = None
    initial_weights: Annotated[VectorInput | None, Field(description="N design weights >= 0; 1 by default.")] = None
    weight_bounds: Annotated[
        WeightBoundsInput | None, Field(description="Lower and upper bounds of the units' weights; none by default.")
    ] = None
    protected_units: Annotated[
        IntegersInput | None, Field(description="Indices of units that are kept whatever the selection says.")
    ] = None
