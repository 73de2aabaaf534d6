"""PolicyEngine's calibration package: one call in, and sentences where it lacks something."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0core.calibration.problem import CalibrationProblem
from service.client import Client, PackageError, read_pickled_package, to_problem
from tests.service.client.conftest import SOLVED


class Column:
    """As a pandas Series: an array can be made of it."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._values, dtype=dtype)

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Frame:
    """As a pandas DataFrame: `keys()` are its columns, and a column is had by its name."""

    def __init__(self, **columns: list[Any]) -> None:
        self._columns = columns

    def keys(self) -> list[str]:
        return list(self._columns)

    def __getitem__(self, name: str) -> Column:
        return Column(self._columns[name])


def package(**changed: Any) -> dict[str, Any]:
    """Give a package as policyengine-us-data writes it."""
    whole = {
        "X_sparse": sp.csr_matrix([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]),
        "targets_df": Frame(
            target_id=[7, 8],
            variable=["person_count", "snap"],
            geo_level=["national", "state"],
            geographic_id=["US", "27"],
            value=[3.0, 4.5],
        ),
        "target_names": ["national/person_count", "state_27/snap"],
        "initial_weights": np.array([1.0, 2.0, 3.0], dtype=np.float32),
        "metadata": {"created_at": "2026-04-10T00:00:00Z"},
        "cd_geoid": None,
        "block_geoid": None,
    }
    return {name: value for name, value in (whole | changed).items() if value is not ...}


def test_a_package_goes_in_by_one_call(client: Client) -> None:
    problem, names = SOLVED.problem, [f"target {i}" for i in range(8)]
    whole = package(
        X_sparse=problem.matrix,
        targets_df=Frame(value=problem.targets.tolist()),
        target_names=names,
        initial_weights=problem.design_weights,
    )
    job = client.calibrate_package(whole, record_budget=20, seed=3, tags={"from": "a package"}).state()
    built = CalibrationProblem.build(
        problem.matrix, problem.targets, initial_weights=problem.design_weights, target_names=names
    )
    assert job["problem_sha256"] == built.sha256
    assert (job["seed"], job["tags"], job["hyperparameters"]["record_budget"]) == (3, {"from": "a package"}, 20)


def test_everything_in_a_package_reaches_the_problem() -> None:
    problem = to_problem(package(target_groups=[0, 1]))
    assert np.array_equal(np.asarray(problem.targets), [3.0, 4.5])
    assert np.array_equal(np.asarray(problem.initial_weights), [1.0, 2.0, 3.0])
    assert np.array_equal(np.asarray(problem.target_groups), [0, 1])
    assert problem.target_names == ["national/person_count", "state_27/snap"]


def test_names_may_stand_in_the_frame_or_nowhere() -> None:
    named = Frame(value=[3.0, 4.5], target_name=["a", "b"])
    assert to_problem(package(target_names=..., targets_df=named)).target_names == ["a", "b"]
    assert to_problem(package(target_names=...)).target_names is None
    assert to_problem(package(initial_weights=None)).initial_weights is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"X_sparse": ...}, r"no matrix: looked for 'X_sparse' or 'matrix' or 'M' or 'X'; it has 'targets_df', 'targ"),
        ({"targets_df": None}, "no frame of targets: looked for 'targets_df' or 'targets'; it has 'X_sparse'"),
        ({"targets_df": np.ones(2)}, "targets are a ndarray; needed is a frame with a column 'value'"),
        ({"targets_df": {"amount": [1]}}, "no column 'value' or 'target_value'; it has 'amount'"),
        ({"target_names": ["a"]}, "matrix has 2 rows, one a target, and 1 target names"),
        ({"targets_df": {"value": [1.0]}, "target_names": ...}, "matrix has 2 rows, one a target, and 1 targets"),
    ],
)
def test_what_a_package_lacks_is_said(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(PackageError, match=says):
        to_problem(package(**changed))


# --- their .pkl


def test_a_pickled_package_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "calibration_package.pkl"
    path.write_bytes(pickle.dumps(package(targets_df={"value": [3.0, 4.5]})))
    assert to_problem(read_pickled_package(path)).target_names == ["national/person_count", "state_27/snap"]


def test_a_path_is_no_package() -> None:
    with pytest.raises(PackageError, match="this is a str; read_pickled_package reads a file"):
        to_problem("calibration_package.pkl")  # type: ignore[arg-type]  # what people try


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no pickle"),
        (b"X,y\n1,2\n", "is no pickle"),
        (pickle.dumps([1]), "holds a list; a calibration package is a dict"),
        (b"cno_such_package.frames\nFrame\n.", "needs the package 'no_such_package' to be read"),
    ],
)
def test_a_file_that_is_no_package_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "package.pkl"
    path.write_bytes(content)
    with pytest.raises(PackageError, match=says):
        read_pickled_package(path)
