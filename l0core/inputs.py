"""How arrays arrive over the wire: by the id of an upload, or inline. Kinds build their request bodies from these."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
UploadId = Annotated[str, Field(pattern=r"^upl_[A-Za-z0-9]{1,64}$", description="Id that POST /v1/uploads gave.")]
Size = Annotated[int, Field(ge=0, le=2**53)]
Index = Annotated[int, Field(ge=-(2**53), le=2**53)]


class MatrixUpload(BaseModel):
    """A sparse matrix that was uploaded."""

    model_config = _STRICT
    upload_id: UploadId


class VectorUpload(BaseModel):
    """A vector that was uploaded."""

    model_config = _STRICT
    upload_id: UploadId


class CsrParts(BaseModel):
    """Compressed rows: row i holds `data[indptr[i]:indptr[i+1]]` in the columns `indices[indptr[i]:indptr[i+1]]`."""

    model_config = _STRICT
    shape: Annotated[list[Size], Field(min_length=2, max_length=2)]
    indptr: list[Index]
    indices: list[Index]
    data: list[float]


class CooParts(BaseModel):
    """Triples: `data[i]` stands in row `row[i]`, column `col[i]`; entries at one place are summed."""

    model_config = _STRICT
    shape: Annotated[list[Size], Field(min_length=2, max_length=2)]
    row: list[Index]
    col: list[Index]
    data: list[float]


class InlineCsr(BaseModel):
    """A small matrix in the request itself, by compressed rows."""

    model_config = _STRICT
    csr: CsrParts


class InlineCoo(BaseModel):
    """A small matrix in the request itself, by triples."""

    model_config = _STRICT
    coo: CooParts


MatrixInput = MatrixUpload | InlineCsr | InlineCoo
VectorInput = VectorUpload | list[float]
IntegersInput = VectorUpload | list[int]
BooleansInput = VectorUpload | list[bool]
