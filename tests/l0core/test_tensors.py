"""Arguments of torch users: every form of the same numbers is the same matrix, and what is none is refused by name."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core import tensors
from l0core.arrays import Axis
from l0core.errors import InvalidHyperparameter, InvalidInput, InvalidMatrix, NonfiniteInput, ShapeMismatch

DENSE = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, -3.0, 0.0, 0.5]])


def _twice(dense: NDArray[np.float64]) -> sp.coo_array:
    """Every entry in two halves."""
    row, col = np.nonzero(dense)
    halves = np.concatenate([dense[row, col]] * 2) / 2
    return sp.coo_array((halves, (np.tile(row, 2), np.tile(col, 2))), shape=dense.shape)


def _torch_csr() -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.tensor(DENSE).to_sparse_csr()


FORMS: dict[str, Callable[[], Any]] = {
    "csr_array": lambda: sp.csr_array(DENSE),
    "csr_matrix": lambda: sp.csr_matrix(DENSE),
    "csc_array": lambda: sp.csc_array(DENSE),
    "coo with duplicates": lambda: _twice(DENSE),
    "dia": lambda: sp.dia_array(DENSE),
    "bsr": lambda: sp.bsr_array(DENSE, blocksize=(1, 2)),
    "lil": lambda: sp.lil_array(DENSE),
    "dok": lambda: sp.dok_array(DENSE),
    "dense": lambda: DENSE,
    "lists": DENSE.tolist,
    "fortran": lambda: np.asfortranarray(DENSE),
    "torch": lambda: torch.tensor(DENSE),
    "torch with gradients": lambda: torch.tensor(DENSE, requires_grad=True),
    "torch transposed": lambda: torch.tensor(DENSE.T.copy()).T,
    "torch coo with duplicates": lambda: torch.sparse_coo_tensor(
        torch.tensor(np.stack(_twice(DENSE).coords)),
        torch.tensor(_twice(DENSE).data),
        DENSE.shape,
        check_invariants=True,
    ),
    "torch csr": _torch_csr,
    "torch csc": lambda: _torch_csr().to_sparse_csc(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_matrix_is_the_same_canonical_csr(form: str) -> None:
    found = tensors.matrix(FORMS[form](), name="M", columns=4)
    expected = sp.csr_array(DENSE)
    assert isinstance(found, sp.csr_array)
    assert found.dtype == np.float64
    for part in ("indptr", "indices", "data"):
        assert getattr(found, part).tolist() == getattr(expected, part).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.float32])
def test_any_type_of_number_is_taken(dtype: type) -> None:
    whole: NDArray[Any] = np.array([[1, 0], [0, 3]], dtype)
    for values in (whole, sp.csr_array(whole), torch.tensor(whole.astype(np.int64))):
        assert tensors.matrix(values, name="M", columns=2).toarray().tolist() == [[1, 0], [0, 3]]


def test_the_matrix_handed_in_is_left_as_it_was() -> None:
    given = sp.csr_matrix(([2.0, 0.0, 1.0], [1, 0, 0], [0, 3]), shape=(1, 2))  # unsorted, twice, a stored zero
    tensors.matrix(given, name="M", columns=2)
    assert (given.data.tolist(), given.indices.tolist()) == ([2.0, 0.0, 1.0], [1, 0, 0])


BAD_MATRICES: dict[str, tuple[Callable[[], Any], type[InvalidInput], str]] = {
    "columns": (lambda: np.ones((3, 5)), ShapeMismatch, r"M has shape \(3, 5\); it needs 4 columns"),
    "transposed": (lambda: np.ones((4, 3)), ShapeMismatch, r"M has shape \(4, 3\)"),
    "NaN": (lambda: np.full((1, 4), np.nan), NonfiniteInput, "M: 4 of the matrix's 4 stored values are NaN"),
    "infinity": (lambda: sp.csr_array([[np.inf, 0, 0, 1]]), NonfiniteInput, "M: 1 of .* the first at position 0"),
    "3-D": (lambda: np.ones((2, 2, 4)), InvalidMatrix, "M: the matrix has 3 dimensions"),
    "1-D": (lambda: np.ones(4), InvalidMatrix, "M: the matrix has 1 dimensions"),
    "a string": (lambda: "M", InvalidMatrix, "M: the matrix has 0 dimensions"),
    "None": (lambda: None, InvalidMatrix, "M: the matrix has 0 dimensions"),
    "strings": (lambda: [["a", "b", "c", "d"]], InvalidMatrix, "M: the matrix holds <U1"),
    "ragged": (lambda: [[1], [1, 2]], InvalidMatrix, "M: the matrix cannot be read"),
    "no rows": (lambda: np.ones((0, 4)), InvalidMatrix, r"M: the matrix has shape \(0, 4\)"),
    "complex": (lambda: np.ones((1, 4), complex), InvalidMatrix, "M: the matrix holds complex128"),
    "half": (lambda: torch.ones(1, 4).half(), InvalidMatrix, "M: the matrix holds float16"),
    "bfloat16": (lambda: torch.ones(1, 4).bfloat16(), InvalidInput, "M is a torch.bfloat16 tensor"),
    "hybrid": (lambda: torch.ones(4, 4).to_sparse(1), InvalidInput, "M is a torch.float32 tensor that cannot be read"),
    "meta": (lambda: torch.ones(1, 4, device="meta"), InvalidInput, "M is a torch.float32 tensor that cannot be read"),
}


@pytest.mark.parametrize("bad", BAD_MATRICES)
def test_what_is_no_such_matrix_is_refused_by_its_name(bad: str) -> None:
    make, error, words = BAD_MATRICES[bad]
    with pytest.raises(error, match=words) as caught:
        tensors.matrix(make(), name="M", columns=4)
    assert caught.value.pointer == "/M"
    assert isinstance(caught.value, ValueError)


def _keep(values: Any) -> list[float]:
    axis = Axis(length=3, noun="units")
    found = tensors.one_or_all(values, name="keep", axis=axis, rule=lambda p: p > 0, need="must be above 0")
    return [float(number) for number in found]


@pytest.mark.parametrize("single", [2, 2.0, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_a_single_number_stands_for_all(single: Any) -> None:
    assert _keep(single) == [2.0] * 3


@pytest.mark.parametrize("several", [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0])])
def test_as_many_numbers_as_places_are_taken_as_they_are(several: Any) -> None:
    assert _keep(several) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ([1, 2], ShapeMismatch, r"keep has shape \(2,\)"),
        ([1], ShapeMismatch, r"keep has shape \(1,\)"),
        ([[1, 2, 3]], ShapeMismatch, r"keep has shape \(1, 3\)"),
        ([1, 0, -1], InvalidInput, r"keep\[1\] is 0; it must be above 0 \(2 such values\)"),
        (0, InvalidInput, r"keep\[0\] is 0; it must be above 0"),
        ([1, np.nan, 1], NonfiniteInput, r"keep\[1\] is nan"),
        ([[1], [1, 2]], InvalidInput, "keep cannot be read as an array"),
        ("many", InvalidInput, "keep holds"),
        (None, InvalidInput, "keep holds object"),
        (torch.ones(3).bfloat16(), InvalidInput, "keep is a torch.bfloat16 tensor"),
        (torch.ones(3).to_sparse(), InvalidInput, "keep holds object"),
    ],
)
def test_numbers_that_are_not_one_for_each_are_refused_by_name(bad: Any, error: type[InvalidInput], words: str) -> None:
    with pytest.raises(error, match=words):
        _keep(bad)


@pytest.mark.parametrize("value", ["cpu", torch.device("cpu"), "cpu:0"])
def test_the_cpu_is_always_there(value: str | torch.device) -> None:
    assert tensors.device(value).type == "cpu"


@pytest.mark.parametrize("value", ["gpu", "", None, 1.5, "cuda:x"])
def test_what_is_no_device_is_refused(value: Any) -> None:
    with pytest.raises(InvalidHyperparameter, match=r"device is .*; it must be a torch device") as caught:
        tensors.device(value)
    assert caught.value.pointer == "/device"


@pytest.mark.parametrize("value", ["meta", "cuda:99", "xpu:99", "mps:99"])
def test_a_device_that_is_not_there_is_refused(value: str) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"device is '{value}'"):
        tensors.device(value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_card_is_refused() -> None:
    with pytest.raises(InvalidHyperparameter, match="device is 'cuda', and torch cannot use it here"):
        tensors.device("cuda")
