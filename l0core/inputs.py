"""How arrays arrive over the wire: by the id of an upload, or inline. Kinds build their request bodies from these.

Each union looks at what was sent and picks its one member, so that a refusal is about that member. Validation puts the
member's tag into the place of a fault, where no key of what was sent is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
UploadId = Annotated[str, Field(pattern=r"^upl_[A-Za-z0-9]{1,64}$", description="Id that POST /v1/uploads gave.")]
Size = Annotated[int, Field(ge=0, le=2**53)]
Index = Annotated[int, Field(ge=-(2**53), le=2**53)]
Floats = Annotated[list[float], Field(fail_fast=True)]  # the first fault is enough: a body may hold a million
Integers = Annotated[list[Index], Field(fail_fast=True)]
Booleans = Annotated[list[bool], Field(fail_fast=True)]


@dataclass(frozen=True, kw_only=True)
class OneRowEach:
    """Marks a matrix that has one row for each entry of the field `of`: a file without a shape has so many rows."""

    of: str


class Upload(BaseModel):
    """Something that was uploaded; what it is read as is said by the class."""

    model_config = _STRICT
    upload_id: UploadId


class MatrixUpload(Upload):
    """A sparse matrix that was uploaded."""


class VectorUpload(Upload):
    """A vector that was uploaded."""


class RowsUpload(Upload):
    """Rows of numbers that were uploaded, in any format of a matrix; what a sparse one leaves out is 0."""


class TensorsUpload(Upload):
    """A safetensors file that was uploaded: all its tensors by their names."""


class Described(BaseModel):
    """A part of a body that holds no arrays: it reaches the problem as it is."""


class TextsUpload(Upload):
    """Texts that were uploaded, for more than fit into a request."""


class CsrParts(BaseModel):
    """Compressed rows: row i holds `data[indptr[i]:indptr[i+1]]` in the columns `indices[indptr[i]:indptr[i+1]]`."""

    model_config = _STRICT
    shape: Annotated[list[Size], Field(min_length=2, max_length=2)]
    indptr: Integers
    indices: Integers
    data: Floats


class CooParts(BaseModel):
    """Triples: `data[i]` stands in row `row[i]`, column `col[i]`; entries at one place are summed."""

    model_config = _STRICT
    shape: Annotated[list[Size], Field(min_length=2, max_length=2)]
    row: Integers
    col: Integers
    data: Floats


class InlineCsr(BaseModel):
    """A small matrix in the request itself, by compressed rows."""

    model_config = _STRICT
    csr: CsrParts


class InlineCoo(BaseModel):
    """A small matrix in the request itself, by triples."""

    model_config = _STRICT
    coo: CooParts


_MATRIX_KEYS = {"upload_id": "~upload", "csr": "~csr", "coo": "~coo"}


def _matrix_tag(value: object) -> str | None:
    """Tell the member by its key, in a body and in a model alike."""
    keys = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", {})
    return next((tag for key, tag in _MATRIX_KEYS.items() if key in keys), None)


def _array_tag(value: object) -> str | None:
    if isinstance(value, list):
        return "~list"
    return "~upload" if isinstance(value, Mapping | Upload) else None


def _number_or_array_tag(value: object) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "~number" if is_number else _array_tag(value)


_BY_KEY = Discriminator(
    _matrix_tag,
    custom_error_type="no_matrix",
    custom_error_message='a matrix is {"upload_id": ...}, {"csr": ...} or {"coo": ...}',
)
_BY_FORM = Discriminator(
    _array_tag, custom_error_type="no_array", custom_error_message='an array is {"upload_id": ...} or a list'
)
_BY_FORM_OR_ONE = Discriminator(
    _number_or_array_tag,
    custom_error_type="no_number_or_array",
    custom_error_message='needed is one number, {"upload_id": ...} or a list',
)

MatrixInput = Annotated[
    Annotated[MatrixUpload, Tag("~upload")] | Annotated[InlineCsr, Tag("~csr")] | Annotated[InlineCoo, Tag("~coo")],
    _BY_KEY,
]
_Upload = Annotated[VectorUpload, Tag("~upload")]
VectorInput = Annotated[_Upload | Annotated[Floats, Tag("~list")], _BY_FORM]
RowsInput = Annotated[
    Annotated[RowsUpload, Tag("~upload")] | Annotated[list[Floats], Tag("~list"), Field(fail_fast=True)], _BY_FORM
]
IntegersInput = Annotated[_Upload | Annotated[Integers, Tag("~list")], _BY_FORM]
TextsInput = Annotated[
    Annotated[TextsUpload, Tag("~upload")] | Annotated[list[str], Tag("~list"), Field(fail_fast=True)], _BY_FORM
]
BooleansInput = Annotated[_Upload | Annotated[Booleans, Tag("~list")], _BY_FORM]
NumberOrVectorInput = Annotated[
    _Upload | Annotated[float, Tag("~number")] | Annotated[Floats, Tag("~list")], _BY_FORM_OR_ONE
]
