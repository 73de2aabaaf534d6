"""The fit by label, against the same numbers taken label by label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.calibration.breakdown import breakdown
from l0core.calibration.diagnostics import TargetFit, summarise, target_fit
from l0core.calibration.problem import CalibrationProblem
from l0core.errors import ShapeMismatch
from tests.problems import by_hand

WEIGHTS = np.array([1.0, 2.0, 0.0, 1.0])  # people 4 of 5, income 8 of 10 (held out), children 1 of 2
ERRORS = ("mean_abs_relative_error", "median_abs_relative_error", "max_abs_relative_error")


def _fit(n_targets: int, *, seed: int, holdout: list[bool]) -> TargetFit:
    rng = np.random.default_rng(seed)
    totals = rng.uniform(1, 2, n_targets)
    problem = CalibrationProblem.build(np.eye(n_targets), totals, holdout=[*holdout[:-1], False])
    return target_fit(problem, rng.uniform(1, 2, n_targets))


def test_the_rows_of_three_targets_are_what_one_computes_by_hand() -> None:
    rows = breakdown(target_fit(by_hand(), WEIGHTS), ["adults", "money", "adults"], parts=np.array([1.0, 0.0, 3.0]))
    assert rows == [
        {
            "label": "adults",
            "holdout": False,
            "n_targets": 2,
            "mean_abs_relative_error": pytest.approx(0.35),
            "median_abs_relative_error": pytest.approx(0.35),
            "max_abs_relative_error": pytest.approx(0.5),
            "initial_mean_abs_relative_error": pytest.approx(0.35),
            "initial_median_abs_relative_error": pytest.approx(0.35),
            "initial_max_abs_relative_error": pytest.approx(0.5),
            "loss": 4.0,
            "loss_share": 1.0,
        },
        {
            "label": "money",
            "holdout": True,
            "n_targets": 1,
            "mean_abs_relative_error": pytest.approx(0.2),
            "median_abs_relative_error": pytest.approx(0.2),
            "max_abs_relative_error": pytest.approx(0.2),
            "initial_mean_abs_relative_error": pytest.approx(0.2),
            "initial_median_abs_relative_error": pytest.approx(0.2),
            "initial_max_abs_relative_error": pytest.approx(0.2),
            "loss": None,
            "loss_share": None,
        },
    ]


def test_a_label_with_both_kinds_of_targets_has_two_rows_one_after_the_other() -> None:
    rows = breakdown(target_fit(by_hand(), WEIGHTS), ["b", "a", "a"])
    assert [(row["label"], row["holdout"]) for row in rows] == [("b", False), ("a", False), ("a", True)]
    assert all("loss" not in row for row in rows)


@given(
    cells=st.lists(st.tuples(st.sampled_from(["MN", "WI", "IA", "ND"]), st.booleans()), min_size=1, max_size=30),
    seed=st.integers(0, 5),
)
def test_every_row_agrees_with_its_targets_looked_at_alone(cells: list[tuple[str, bool]], seed: int) -> None:
    labels = [label for label, _ in cells]
    fit = _fit(len(cells), seed=seed, holdout=[held_out for _, held_out in cells])
    rows = breakdown(fit, labels)
    for row in rows:
        mine = (np.array(labels) == row["label"]) & (fit.problem.holdout == row["holdout"])
        after, before = np.abs(fit.relative_errors[mine]), np.abs(fit.initial_relative_errors[mine])
        assert row["n_targets"] == mine.sum()
        assert [row[name] for name in ERRORS] == pytest.approx([after.mean(), np.median(after), after.max()])
        assert [row[f"initial_{name}"] for name in ERRORS] == pytest.approx(
            [before.mean(), np.median(before), before.max()]
        )
    assert sum(row["n_targets"] for row in rows) == len(cells)
    assert list(dict.fromkeys(row["label"] for row in rows)) == list(dict.fromkeys(labels))


def test_one_label_for_all_gives_the_errors_of_the_summary() -> None:
    fit = target_fit(by_hand(), WEIGHTS)
    fitted, held_out = breakdown(fit, ["all"] * 3)
    summary = summarise(fit, WEIGHTS)
    for row, numbers in ((fitted, summary), (held_out, summary["holdout"])):
        assert {name: row[name] for name in ERRORS} == {name: numbers[name] for name in ERRORS}


def test_labels_of_another_number_of_targets_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="labels has 2 labels; the problem has 3 targets"):
        breakdown(target_fit(by_hand(), WEIGHTS), ["a", "b"])
