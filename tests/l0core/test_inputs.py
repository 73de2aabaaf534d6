"""The arrays of a request body: which bodies are taken, and that nothing else is."""

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from l0core.inputs import (
    BooleansInput,
    InlineCoo,
    InlineCsr,
    IntegersInput,
    MatrixInput,
    MatrixUpload,
    NumberOrVectorInput,
    VectorInput,
    VectorUpload,
)

STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # as in the body of every kind
MATRIX: TypeAdapter[MatrixInput] = TypeAdapter(MatrixInput)
VECTOR: TypeAdapter[VectorInput] = TypeAdapter(VectorInput, config=STRICT)
INTEGERS: TypeAdapter[IntegersInput] = TypeAdapter(IntegersInput, config=STRICT)
BOOLEANS: TypeAdapter[BooleansInput] = TypeAdapter(BooleansInput, config=STRICT)
NUMBER_OR_VECTOR: TypeAdapter[NumberOrVectorInput] = TypeAdapter(NumberOrVectorInput, config=STRICT)
CSR = '{"csr": {"shape": [1, 2], "indptr": [0, 1], "indices": [1], "data": [2.5]}}'
COO = '{"coo": {"shape": [1, 2], "row": [0], "col": [1], "data": [2]}}'


@pytest.mark.parametrize(
    ("body", "kind"), [('{"upload_id": "upl_a1"}', MatrixUpload), (CSR, InlineCsr), (COO, InlineCoo)]
)
def test_a_matrix_comes_by_upload_or_in_parts(body: str, kind: type) -> None:
    assert type(MATRIX.validate_json(body)) is kind


def test_a_vector_comes_by_upload_or_inline() -> None:
    assert VECTOR.validate_json('{"upload_id": "upl_a1"}') == VectorUpload(upload_id="upl_a1")
    assert VECTOR.validate_json("[1, 2.5]") == [1.0, 2.5]


@pytest.mark.parametrize(
    "body",
    [
        '{"upload_id": "prb_a1"}',
        '{"upload_id": "upl_"}',
        '{"upload_id": "upl_a/../b"}',
        '{"upload_id": "upl_a\\n"}',
        '{"upload_id": "upl_' + "a" * 65 + '"}',
        '{"upload_id": "upl_a1", "format": "npz"}',
        CSR.replace("1, 2]", "1]"),
        CSR.replace("1, 2]", "1, -2]"),
        CSR.replace("1, 2]", "1, 1e400]"),
        CSR.replace("[0, 1]", "[0.5, 1]"),
        CSR.replace("[0, 1]", '["0", 1]'),
        CSR.replace("2.5", "NaN"),
        CSR.replace("2.5", "1e999"),
        CSR.replace('"data"', '"values"'),
        COO.replace('"coo"', '"csr"'),
        "[[1.0, 2.0]]",
        "null",
    ],
)
def test_any_other_matrix_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        MATRIX.validate_json(body)


@pytest.mark.parametrize("body", ["[NaN]", "[Infinity]", '["1"]', "[null]", "[[1]]", "7", "[true]"])
def test_any_other_vector_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        VECTOR.validate_json(body)


def test_whole_numbers_and_booleans_are_taken_for_what_they_are() -> None:
    assert INTEGERS.validate_json("[1, -2]") == [1, -2]
    assert BOOLEANS.validate_json("[true, false]") == [True, False]


@pytest.mark.parametrize("body", ["[1.5]", "[true]", '["1"]'])
def test_a_number_that_is_not_whole_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        INTEGERS.validate_json(body)


@pytest.mark.parametrize("body", ["[1]", '["true"]', "[null]"])
def test_a_boolean_is_true_or_false(body: str) -> None:
    with pytest.raises(ValidationError):
        BOOLEANS.validate_json(body)


def test_one_number_may_stand_for_a_vector() -> None:
    assert NUMBER_OR_VECTOR.validate_json("7") == 7.0
    assert NUMBER_OR_VECTOR.validate_json("[7, 2.5]") == [7.0, 2.5]
    assert NUMBER_OR_VECTOR.validate_json('{"upload_id": "upl_a1"}') == VectorUpload(upload_id="upl_a1")


@pytest.mark.parametrize("body", ["true", '"7"', "null", "NaN", "1e999", "[true]", '{"csr": 1}'])
def test_nothing_else_may(body: str) -> None:
    with pytest.raises(ValidationError):
        NUMBER_OR_VECTOR.validate_json(body)
