"""The body of `POST /v1/problems` for a sampling."""

from pydantic import BaseModel, ConfigDict, Field

from l0core.inputs import BooleansInput, IntegersInput, MatrixInput, TextsInput, VectorInput


class SamplingInputs(BaseModel):
    """N units by P columns; every array may be given inline or as an upload."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    features: MatrixInput = Field(description="N x P: row j holds the columns of unit j.")
    targets: VectorInput | None = Field(
        default=None, description="P totals to reproduce, one a column; the weighted totals of the whole by default."
    )
    initial_weights: VectorInput | None = Field(
        default=None, description="N design weights >= 0; 1 by default. A unit of weight 0 is never chosen."
    )
    outcome: VectorInput | None = Field(
        default=None, description="N numbers, or class ids, that the columns are to explain; for mode `features`."
    )
    column_names: TextsInput | None = Field(default=None, description="P names; column_0, column_1, ... by default.")
    holdout: BooleansInput | None = Field(
        default=None, description="P booleans: true leaves a column out of the fit and reports it apart."
    )
    strata: IntegersInput | None = Field(
        default=None,
        description="N whole numbers: the strata of the stratified comparison; by default ten classes of units along "
        "the first principal component of the columns in the fit.",
    )
