"""A calibration problem: what is refused and where, what an error is measured against, and its content address."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core import matrices
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import InvalidInput, InvalidMatrix, L0Error, NonfiniteInput, ShapeMismatch
from l0core.matrices import Coo, parts
from tests.problems import by_hand, planted_findings, solved

MATRIX = [[1.0, 1.0, 0.0, 1.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
NAN = float("nan")


def _given(**changed: Any) -> dict[str, Any]:
    """Give the arguments of `by_hand`, some of them changed; `...` leaves one out."""
    problem = by_hand()
    arguments: dict[str, Any] = {
        "matrix": MATRIX,
        "targets": problem.targets,
        "initial_weights": problem.design_weights,
        "target_names": problem.names,
        "target_groups": problem.groups,
        "target_weights": problem.target_weights,
        "target_scales": problem.scales,
        "target_tolerances": problem.tolerances,
        "holdout": problem.holdout,
    }
    return {name: value for name, value in (arguments | changed).items() if value is not ...}


def _build(**changed: Any) -> CalibrationProblem:
    return CalibrationProblem.build(**_given(**changed))


def test_sizes_are_counted_on_the_canonical_matrix() -> None:
    problem = by_hand()
    assert problem.sizes == {"n_targets": 3, "n_units": 4, "nnz": 5}
    assert (problem.n_targets, problem.n_units, problem.nnz) == (3, 4, 5)


def test_what_is_not_given_has_its_default() -> None:
    problem = CalibrationProblem.build(MATRIX, [5, 10, 2])
    assert problem.names == ("target_0", "target_1", "target_2")
    assert problem.design_weights.tolist() == [1.0] * 4
    assert problem.target_weights.tolist() == [1.0] * 3
    assert problem.holdout.tolist() == [False] * 3
    assert (problem.groups, problem.scales, problem.tolerances) == (None, None, None)


@pytest.mark.parametrize(
    ("changed", "error", "pointer"),
    [
        ({"matrix": [1.0, 2.0]}, InvalidMatrix, "/matrix"),
        ({"matrix": np.full((3, 4), NAN)}, NonfiniteInput, "/matrix"),
        ({"matrix": np.ones((3, 0))}, InvalidMatrix, "/matrix"),
        ({"matrix": np.ones((3, 4), dtype=bool)}, InvalidMatrix, "/matrix"),
        ({"targets": [1.0, 2.0]}, ShapeMismatch, "/targets"),
        ({"targets": [[1.0], [2.0], [3.0]]}, ShapeMismatch, "/targets"),
        ({"targets": [1.0, 2.0, NAN]}, NonfiniteInput, "/targets/2"),
        ({"targets": ["1", "2", "3"]}, InvalidInput, "/targets"),
        ({"initial_weights": [1.0, 2.0, 3.0]}, ShapeMismatch, "/initial_weights"),
        ({"initial_weights": [1.0, -2.0, 3.0, 1.0]}, InvalidInput, "/initial_weights/1"),
        ({"initial_weights": [1.0, np.inf, 3.0, 1.0]}, NonfiniteInput, "/initial_weights/1"),
        ({"initial_weights": [0.0, 0.0, 0.0, 0.0]}, InvalidInput, "/initial_weights"),
        ({"target_names": ["a", "b"]}, ShapeMismatch, "/target_names"),
        ({"target_names": ["a", "", "c"]}, InvalidInput, "/target_names/1"),
        ({"target_names": ["a", "b", "c" * 1001]}, InvalidInput, "/target_names/2"),
        ({"target_names": ["a", 7, "c"]}, InvalidInput, "/target_names/1"),
        ({"target_names": ["a\nb", "b", "c"]}, InvalidInput, "/target_names/0"),
        ({"target_names": ["a", "\ud800", "c"]}, InvalidInput, "/target_names/1"),
        ({"target_groups": [1, 2]}, ShapeMismatch, "/target_groups"),
        ({"target_groups": [1, 2.5, 2]}, InvalidInput, "/target_groups/1"),
        ({"target_groups": [1, 2, NAN]}, NonfiniteInput, "/target_groups/2"),
        ({"target_weights": [1.0, 0.0, 1.0]}, InvalidInput, "/target_weights/1"),
        ({"target_weights": [1.0, 1.0]}, ShapeMismatch, "/target_weights"),
        ({"target_weights": [NAN, 1.0, 1.0]}, NonfiniteInput, "/target_weights/0"),
        ({"target_scales": [1.0, 1.0, -1.0]}, InvalidInput, "/target_scales/2"),
        ({"target_scales": [1.0, 1.0, np.inf]}, NonfiniteInput, "/target_scales/2"),
        ({"target_scales": 1.0}, ShapeMismatch, "/target_scales"),
        ({"target_tolerances": [0.0, 1.0, 1.0]}, InvalidInput, "/target_tolerances/0"),
        ({"target_tolerances": [1.0] * 4}, ShapeMismatch, "/target_tolerances"),
        ({"holdout": [True, True, True]}, InvalidInput, "/holdout"),
        ({"holdout": [0, 1, 2]}, InvalidInput, "/holdout/2"),
        ({"holdout": [True]}, ShapeMismatch, "/holdout"),
        ({"weight_bounds": {"upper": [1.0, 2.0]}}, ShapeMismatch, "/weight_bounds/upper"),
        ({"protected_units": [0, 4]}, InvalidInput, "/protected_units/1"),
    ],
)
def test_a_field_that_cannot_be_used_is_refused_where_it_stands(
    changed: dict[str, Any], error: type[L0Error], pointer: str
) -> None:
    with pytest.raises(error) as caught:
        _build(**changed)
    assert type(caught.value) is error
    assert caught.value.pointer == pointer
    assert pointer.split("/")[1] in caught.value.message


@pytest.mark.parametrize("name", ["3\u00a0000 or more", "\u6771\u4eac\u3000\u90fd", "soft\u00adhyphen"])
def test_a_name_with_an_unusual_space_is_a_name(name: str) -> None:
    assert _build(target_names=[name, "b", "c"]).names[0] == name


def test_an_error_is_measured_against_the_target_or_against_a_thousandth_of_what_it_is_made_of() -> None:
    problem = CalibrationProblem.build(
        [[1.0, -3.0], [1.0, -3.0], [1.0, -3.0], [0.0, 0.0], [0.0, 0.0]],
        [-50.0, 0.0, 0.001, 0.0, 0.5],
        initial_weights=[100.0, 300.0],
    )
    assert problem.scale.tolist() == pytest.approx([50.0, 1.0, 1.0, 1.0, 0.5])  # 0.001 (1 100 + 3 300) = 1


def test_a_given_scale_does_not_enter_the_relative_error() -> None:
    problem = by_hand()
    assert problem.scale.tolist() == [5.0, 10.0, 2.0]
    estimates = problem.estimates(problem.design_weights)
    assert estimates.tolist() == [6.0, 8.0, 3.0]
    assert problem.relative_errors(estimates).tolist() == pytest.approx([0.2, -0.2, 0.5])


def test_the_address_of_a_known_problem_is_the_one_written_down() -> None:
    """Golden: a change here gives every stored problem a new address."""
    assert by_hand().sha256 == "61defeca466de2f8e98540de80b33d2d3f20236034323a3faa3b34debfdf21cb"


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_the_same_numbers_in_any_form_and_order_have_the_same_address(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-2, 3, size=(3, 6)) / 4
    targets = rng.integers(1, 9, size=3)
    coo = sp.coo_array(dense)
    shuffled = rng.permutation(coo.nnz)
    triples = Coo(shape=(3, 6), row=coo.row[shuffled], col=coo.col[shuffled], data=coo.data[shuffled])
    halves = Coo(
        shape=(3, 6),
        row=np.concatenate([coo.row, coo.row]),
        col=np.concatenate([coo.col, coo.col]),
        data=np.concatenate([coo.data, coo.data]) / 2,
    )
    forms = (dense, sp.csr_array(dense), sp.csc_matrix(dense), coo, dense.astype(np.float32), triples, halves)
    addresses = {CalibrationProblem.build(form, targets).sha256 for form in forms}
    addresses.add(CalibrationProblem.build(dense, targets.astype(float), initial_weights=np.ones(6)).sha256)
    assert len(addresses) == 1


def test_a_default_filled_in_by_hand_has_the_same_address() -> None:
    plain = CalibrationProblem.build(MATRIX, [5, 10, 2])
    spelled = CalibrationProblem.build(
        parts(MATRIX),
        [5.0, 10.0, 2.0],
        initial_weights=[1] * 4,
        target_names=["target_0", "target_1", "target_2"],
        target_weights=[1] * 3,
        holdout=[0, 0, 0],
    )
    assert plain.sha256 == spelled.sha256


@pytest.mark.parametrize(
    "changed",
    [
        {"matrix": [[1.0, 1.0, 0.0, 1.5], *MATRIX[1:]]},
        {"matrix": [[1.0, 1.0, 1.0, 0.0], *MATRIX[1:]]},
        {"matrix": [[*row, 0.0] for row in MATRIX], "initial_weights": [1.0, 2.0, 1.0, 3.0, 1.0]},
        {"targets": [5.0, 10.0, np.nextafter(2.0, 3.0)]},
        {"initial_weights": [1.0, 2.0, 1.0, 4.0]},
        {"target_names": ["people", "income", "Children"]},
        {"target_names": ["income", "people", "children"]},
        {"target_groups": [1, 2, 3]},
        {"target_groups": ...},
        {"target_weights": [1.0, 2.0, 5.0]},
        {"target_scales": [10.0, 5.0, 5.0]},
        {"target_scales": ...},
        {"target_tolerances": [0.1, 0.1, 0.7]},
        {"target_tolerances": ...},
        {"holdout": [False, True, True]},
        {"holdout": ...},
        {"weight_bounds": {"lower": 0.5}},
        {"weight_bounds": {"upper": 0.5}},
        {"protected_units": [0]},
    ],
)
def test_another_number_name_or_field_is_another_problem(changed: dict[str, Any]) -> None:
    assert _build().sha256 == by_hand().sha256
    assert _build(**changed).sha256 != by_hand().sha256


def test_a_negative_zero_is_a_zero() -> None:
    first, second = (
        CalibrationProblem.build(sp.csr_array(([1.0, zero], [0, 1], [0, 2]), shape=(1, 2)), [zero])
        for zero in (0.0, -0.0)
    )
    assert first.sha256 == second.sha256


def test_rules_of_units_that_say_nothing_are_no_rules() -> None:
    empty = _build(weight_bounds={"lower": [0.0] * 4, "upper": np.inf}, protected_units=[])
    assert empty.sha256 == by_hand().sha256
    assert (empty.lower_bounds, empty.upper_bounds, empty.protected_units.tolist()) == (None, None, [])


def test_one_bound_for_all_is_the_bound_of_each() -> None:
    spread = _build(weight_bounds={"lower": 0.5, "upper": [2, 2, 2, 2]}, protected_units=[3, 1])
    assert spread.sha256 == _build(weight_bounds={"lower": [0.5] * 4, "upper": 2}, protected_units=[1, 3]).sha256


def _with_rules_of_units() -> CalibrationProblem:
    return _build(weight_bounds={"lower": 0.5, "upper": [1.0, np.inf, 3.0, 4.0]}, protected_units=[2, 0])


@pytest.mark.parametrize("problem", [by_hand(), solved().problem, planted_findings().problem, _with_rules_of_units()])
def test_what_is_saved_is_what_is_loaded(problem: CalibrationProblem, tmp_path: Path) -> None:
    problem.save(tmp_path / "problem.safetensors")
    loaded = CalibrationProblem.load(tmp_path / "problem.safetensors")
    assert loaded.sha256 == problem.sha256
    assert loaded.names == problem.names
    assert loaded.findings == problem.findings
    np.testing.assert_array_equal(loaded.matrix.toarray(), problem.matrix.toarray())
    arrays = ("targets", "design_weights", "target_weights", "holdout", "groups", "scales", "tolerances", "scale")
    for name in (*arrays, "lower_bounds", "upper_bounds", "protected_units"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(problem, name))
        if getattr(problem, name) is not None:
            assert getattr(loaded, name).dtype == getattr(problem, name).dtype


def test_what_had_to_be_mended_is_still_known_after_loading(tmp_path: Path) -> None:
    twice = Coo(shape=(1, 1), row=np.array([0, 0]), col=np.array([0, 0]), data=np.array([1.0, 2.0]))
    problem = CalibrationProblem.build(twice, [1.0])
    problem.save(tmp_path / "problem.safetensors")
    assert CalibrationProblem.load(tmp_path / "problem.safetensors").findings == problem.findings


@pytest.mark.parametrize("at_once", [1, 3, 10, 10**6])
def test_what_a_target_is_made_of_does_not_depend_on_how_many_entries_are_summed_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(9, 7)) * (rng.random((9, 7)) < 0.5)
    dense[[0, 4, 8]] = 0  # a row without entries at either end and amid
    dense[2] = 1  # one that is more than a run by itself
    weights = rng.random(7) + 1
    monkeypatch.setattr(matrices, "_ENTRIES_AT_ONCE", at_once)
    problem = CalibrationProblem.build(dense, np.zeros(9), initial_weights=weights)
    expected = 0.001 * np.abs(dense) @ weights
    np.testing.assert_allclose(problem.scale, np.where(expected > 0, expected, 1), rtol=1e-12)
