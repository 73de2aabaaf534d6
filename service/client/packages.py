"""PolicyEngine's calibration package as a problem: a dict of a sparse matrix, a frame of targets, and their names."""

import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from service.client.errors import PackageError
from service.client.problem import Problem

_MATRIX = ("X_sparse", "matrix", "M", "X")
_TARGETS = ("targets_df", "targets")
_VALUE = ("value", "target_value")
_NAMES = ("target_names", "targets_names", "names")
_NAME = ("target_name", "name", "label")
_WEIGHTS = ("initial_weights", "init_weights")
_GROUPS = ("target_groups",)


class _Frame(Protocol):
    """Columns by name: a pandas frame, or a dict of lists."""

    def keys(self) -> Iterable[object]: ...

    def __getitem__(self, name: str, /) -> object: ...


def to_problem(package: Mapping[str, Any]) -> Problem:
    """Give the problem in a calibration package: a dict with `X_sparse`, `targets_df` and `target_names`.

    The frame needs a column `value`; pandas itself is not needed. Names may stand in the frame instead
    (`target_name`), or nowhere. `initial_weights` and `target_groups` are taken where they are there and not None; what
    else is in the package (metadata, geography) is not looked at.

    >>> targets = {"value": [3.0, 4.5], "variable": ["people", "snap"]}
    >>> package = {"X_sparse": np.ones((2, 3)), "targets_df": targets, "target_names": ["people", "snap"]}
    >>> to_problem(package).targets
    array([3. , 4.5])
    """
    if not isinstance(package, Mapping):
        text = f"a calibration package is a dict; this is a {type(package).__name__}; read_pickled_package reads a file"
        raise PackageError(text)
    matrix = _needed(package, _MATRIX, "matrix")
    targets, names = _targets(package)
    weights, groups = _first(package, _WEIGHTS), _first(package, _GROUPS)
    rows = np.shape(matrix)[0] if np.ndim(cast("Any", matrix)) else 0
    for name, values in {"targets": targets, "target names": names, "target groups": groups}.items():
        if values is not None and len(values) != rows:
            raise PackageError(f"the package's matrix has {rows} rows, one a target, and {len(values)} {name}")
    return Problem(
        matrix,
        targets,
        initial_weights=None if weights is None else np.asarray(weights, dtype=np.float64),
        target_names=names,
        target_groups=None if groups is None else np.asarray(groups, dtype=np.int64),
    )


def read_pickled_package(path: str | Path) -> dict[str, Any]:
    """Give what a `calibration_package.pkl` holds.

    WARNING: a pickle is a program, and reading one runs it. Read only a file that you, or somebody you trust, has
    written. The service itself never reads one. A package with a pandas frame needs pandas to be installed.
    """
    with Path(path).open("rb") as file:
        try:
            package = pickle.load(file)  # noqa: S301 - the user's own file, asked for by name
        except (pickle.UnpicklingError, EOFError) as error:
            raise PackageError(f"{path} is no pickle: {error}") from error
        except ImportError as error:
            raise PackageError(f"{path} needs the package '{error.name}' to be read: pip install it") from error
    if not isinstance(package, dict):
        raise PackageError(f"{path} holds a {type(package).__name__}; a calibration package is a dict")
    return package


def _targets(package: Mapping[str, Any]) -> tuple[NDArray[np.float64], list[str] | None]:
    """Give the values of the targets, and their names where there are any."""
    frame: _Frame = _needed(package, _TARGETS, "frame of targets")
    try:
        columns = {str(name): name for name in frame.keys()}  # noqa: SIM118 - of a frame
    except AttributeError:
        text = f"the package's targets are a {type(frame).__name__}; needed is a frame with a column '{_VALUE[0]}'"
        raise PackageError(text) from None
    found = next((name for name in _VALUE if name in columns), None)
    if found is None:
        raise PackageError(f"the frame of targets has no column {_either(_VALUE)}; it has {_listed(columns)}")
    names = _first(package, _NAMES)
    if names is None:
        names = next((frame[name] for name in _NAME if name in columns), None)
    values = np.asarray(frame[found], dtype=np.float64)
    return values, None if names is None else [str(name) for name in cast("Iterable[object]", names)]


def _needed(package: Mapping[str, Any], names: Sequence[str], what: str) -> Any:
    found = _first(package, names)
    if found is None:
        raise PackageError(f"the package has no {what}: looked for {_either(names)}; it has {_listed(package)}")
    return found


def _first(package: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Give the first of these that is there and not None."""
    return next((package[name] for name in names if package.get(name) is not None), None)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"
