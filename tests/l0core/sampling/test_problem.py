"""The problem: what it takes, what it refuses and where, and one address for the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from l0core.calibration.stored_targets import stored_targets
from l0core.errors import InvalidInput
from l0core.sampling.problem import SamplingProblem

COLUMNS = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
FULL: dict[str, Any] = {
    "targets": [9.0, 8.0],
    "initial_weights": [1.0, 2.0, 0.0],
    "outcome": [0.5, -1.0, 2.0],
    "column_names": ["income", "age"],
    "holdout": [False, True],
    "strata": [1, 1, 2],
}


def test_the_totals_of_the_whole_are_reproduced_unless_others_are_given() -> None:
    problem = SamplingProblem.build(COLUMNS, initial_weights=[1.0, 2.0, 1.0])
    assert problem.targets.tolist() == [4.0, 5.0]
    assert problem.asks_for_the_whole
    assert not SamplingProblem.build(COLUMNS, **FULL).asks_for_the_whole


@pytest.mark.parametrize(
    ("changed", "pointer", "said"),
    [
        ({"features": [[1.0, np.nan]]}, "/features", "NaN"),
        ({"features": np.zeros((0, 2))}, "/features", "at least one row"),
        ({"targets": [1.0]}, "/targets", "2"),
        ({"targets": [1.0, np.inf]}, "/targets/1", "finite"),
        ({"initial_weights": [1.0, -2.0, 1.0]}, "/initial_weights/1", "-2"),
        ({"initial_weights": [0.0, 0.0, 0.0]}, "/initial_weights", "all 0"),
        ({"initial_weights": [1.0]}, "/initial_weights", "3 rows"),
        ({"outcome": [1.0, 2.0]}, "/outcome", "3"),
        ({"outcome": [1.0, 2.0, np.nan]}, "/outcome/2", "nan"),
        ({"column_names": ["a"]}, "/column_names", "1 names"),
        ({"column_names": ["a", ""]}, "/column_names/1", "1 to 1000"),
        ({"column_names": ["a", "b\n"]}, "/column_names/1", "control"),
        ({"column_names": ["a", "\ud800"]}, "/column_names/1", "surrogate"),
        ({"holdout": [True, True]}, "/holdout", "every column"),
        ({"holdout": [1, 2]}, "/holdout/1", "true or false"),
        ({"strata": [1, 2]}, "/strata", "3"),
        ({"strata": [1, 2, 0.5]}, "/strata/2", "whole"),
        ({"features": [[1e308, 0.0]] * 3, "initial_weights": [1e10] * 3}, "/features", "overflows"),
    ],
)
def test_a_fault_is_refused_where_it_stands(changed: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SamplingProblem.build(**{"features": COLUMNS, **changed})
    assert refused.value.pointer == pointer
    assert said in refused.value.message


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array, sp.coo_array, np.asfortranarray])
def test_the_same_numbers_have_the_same_address_in_any_form(form: Any) -> None:
    assert SamplingProblem.build(form(COLUMNS)).sha256 == SamplingProblem.build(COLUMNS).sha256


def test_a_default_that_is_given_changes_no_address() -> None:
    bare = SamplingProblem.build(COLUMNS)
    given = {"targets": bare.whole, "initial_weights": np.ones(3), "column_names": ["column_0", "column_1"]}
    assert SamplingProblem.build(COLUMNS, **given, holdout=[False, False]).sha256 == bare.sha256


@pytest.mark.parametrize("field", FULL)
def test_every_field_is_part_of_the_address(field: str) -> None:
    without = {name: value for name, value in FULL.items() if name != field}
    assert SamplingProblem.build(COLUMNS, **without).sha256 != SamplingProblem.build(COLUMNS, **FULL).sha256


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    problem = SamplingProblem.build(COLUMNS, **FULL)
    problem.save(tmp_path / "p")
    loaded = SamplingProblem.load(tmp_path / "p")
    assert loaded.sha256 == problem.sha256
    assert loaded.findings == problem.findings
    assert (loaded.features != problem.features).nnz == 0
    assert loaded.sizes == {"n_units": 3, "n_columns": 2, "nnz": 4}


def test_the_totals_of_a_stored_problem_are_read_by_page(tmp_path: Path) -> None:
    SamplingProblem.build(COLUMNS, **FULL).save(tmp_path / "p")
    (row,) = stored_targets(tmp_path / "p", 1, 5)
    assert (row["index"], row["name"], row["value"], row["holdout"]) == (1, "age", 8.0, True)


def test_what_is_doubtful_is_found() -> None:
    columns = np.array([[1.0, 0.0, 7.0, 1.0], [2.0, 0.0, 7.0, 2.0], [1.0, 0.0, 7.0, 1.0]])
    problem = SamplingProblem.build(columns, targets=[-4.0, 3.0, 21.0, -4.0], initial_weights=[1.0, 1.0, 0.0])
    found = {(finding.code, finding.index) for finding in problem.findings}
    assert found == {
        ("wrong_sign", 0),
        ("wrong_sign", 3),
        ("no_support", 1),
        ("duplicate_targets", 3),
        ("constant_column", 1),
        ("constant_column", 2),
        ("zero_design_weights", None),
    }
