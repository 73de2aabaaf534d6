"""Arguments of torch users: tensors among the arrays, and devices. After this the checks of `arrays` and `matrices`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core import arrays, matrices
from l0core.arrays import Axis, FloatArray
from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch

Rule = Callable[[FloatArray], NDArray[np.bool_]]


def plain(values: Any, *, name: str) -> Any:
    """Give a tensor as a numpy array, or a sparse one as scipy's; anything else as it is.

    Raises InvalidInput for a tensor that neither can hold: bfloat16, hybrid, on the meta device.
    """
    if not isinstance(values, Tensor):
        return values
    try:
        return _converted(values.detach().cpu())
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"{name} is a {values.dtype} tensor that cannot be read as numbers ({error}); "
            "it needs float32, float64 or integers",
            pointer=f"/{name}",
        ) from error


def _converted(held: Tensor) -> Any:
    if held.layout is torch.strided:
        return held.numpy()
    to_sparse_coo: Callable[[], Tensor] = held.to_sparse_coo
    coo = to_sparse_coo().coalesce()
    return sp.coo_array((coo.values().numpy(), tuple(coo.indices().numpy())), shape=tuple(coo.shape))


def matrix(values: Any, *, name: str, columns: int) -> sp.csr_array:
    """Give any scipy, numpy or torch matrix, sparse or dense, as checked CSR with `columns` columns.

    A CSR matrix with sorted columns is not copied.
    """
    given = plain(values, name=name)
    try:
        checked = matrices.checked(matrices.parts(given))
    except InvalidInput as error:
        raise type(error)(f"{name}: {error.message}", pointer=f"/{name}") from error
    if checked.shape[1] != columns:
        raise ShapeMismatch(
            f"{name} has shape {checked.shape}; it needs {columns} columns, one for each of the n_features",
            pointer=f"/{name}",
        )
    return checked


def one_or_all(values: Any, *, name: str, axis: Axis, rule: Rule, need: str) -> FloatArray:
    """Give one number for each place of `axis`, from as many or from a single one; `rule` must hold for all."""
    given = plain(values, name=name)
    full = np.full(axis.length, given) if _is_single(given) else given
    return arrays.vector(full, name=name, axis=axis, rule=rule, need=need)


def _is_single(values: Any) -> bool:
    try:
        return np.ndim(values) == 0
    except ValueError:  # lists of different lengths: `arrays` has the words for them
        return False


def device(value: str | torch.device) -> torch.device:
    """Give the device, which must be there.

    >>> device("gpu")
    Traceback (most recent call last):
    l0core.errors.InvalidHyperparameter: device is 'gpu'; it must be a torch device such as 'cpu' or 'cuda'
    """
    try:
        found = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise InvalidHyperparameter(
            f"device is {value!r}; it must be a torch device such as 'cpu' or 'cuda'", pointer="/device"
        ) from error
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:  # torch raises either for a device that is not there
        raise InvalidHyperparameter(f"device is {value!r}, and torch cannot use it here", pointer="/device") from error
    return found
