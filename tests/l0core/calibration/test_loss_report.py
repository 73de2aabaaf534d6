"""The report's sections about the loss: shares, bound and prices of a result that is known."""

from dataclasses import replace

import numpy as np
import pytest

from l0core.calibration.loss_report import composition, dearest, loss_table
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from tests.l0core.calibration.test_report import Page, made

NAMES = ("near", "<far>", "held out")


@pytest.fixture
def result() -> CalibrationResult:
    """Errors of 10 % and 30 % and a held-out target; the loss is 0.1."""
    problem = CalibrationProblem.build(
        np.eye(3), [10.0, 10.0, 10.0], target_names=NAMES, holdout=[False, False, True], target_groups=[1, 2, 2]
    )
    bare = made(problem, weights=[9.0, 13.0, 10.0])
    return replace(bare, parts=np.array([0.01, 0.09, 0.0]), loss=0.1, selection_loss=0.4, omega_total=2.0)


def test_targets_are_listed_by_their_share_of_the_loss(result: CalibrationResult) -> None:
    page = Page(composition(result))
    assert page.rows[1:3] == [["<far>", "10", "13", "+30.0 %", "90.0 %"], ["near", "10", "9", "−10.0 %", "10.0 %"]]
    assert "2 targets of 2 in the fit make up 100 % of it." in page.text
    assert "cap" not in page.text


def test_groups_are_listed_by_their_share(result: CalibrationResult) -> None:
    rows = Page(composition(result)).rows
    assert [(row[0], row[1], row[3], row[4]) for row in rows[4:]] == [
        ("2", "1", "30.0 %", "90.0 %"),
        ("1", "1", "10.0 %", "10.0 %"),
    ]


def test_without_a_loss_there_is_nothing_to_take_apart(result: CalibrationResult) -> None:
    assert composition(replace(result, parts=np.zeros(3))) == ""


def test_the_number_past_the_cap_is_told_under_a_loss_with_one(result: CalibrationResult) -> None:
    page = Page(composition(replace(result, past_cap=np.array([False, True, False]))))
    assert "1 target past the cap" in page.text


def test_no_more_than_ten_targets_are_listed() -> None:
    problem = CalibrationProblem.build(np.eye(30), np.ones(30), target_groups=range(30))
    page = Page(composition(replace(made(problem), parts=np.arange(30.0))))
    assert sum(row[0].startswith("target_") for row in page.rows) == 10
    assert "10 targets of 30 in the fit make up" in page.text
    assert "20 more are not shown" in page.text


def test_the_loss_stands_beside_its_bound_where_there_is_one(result: CalibrationResult) -> None:
    assert Page(loss_table(result)).rows[1:] == [["Before the refit", "0.4", "0.2"], ["Calibrated", "0.1", "0.05"]]
    bounded = Page(loss_table(replace(result, lower_bound=0.02))).rows[3:]
    assert bounded == [["Lower bound", "0.02", "0.01"], ["Gap to it", "0.08", "0.04"]]


def test_the_dearest_target_comes_first_whatever_the_sign_of_its_price(result: CalibrationResult) -> None:
    priced = replace(result, prices=np.array([0.5, -2.0, np.nan]))
    assert [(row[0], row[-1]) for row in Page(dearest(priced)).rows[1:]] == [("<far>", "−2"), ("near", "0.5")]
    assert Page(composition(priced)).rows[1][-1] == "−2"


def test_without_prices_no_section_speaks_of_them(result: CalibrationResult) -> None:
    assert dearest(result) == ""
    assert dearest(replace(result, prices=np.full(3, np.nan))) == ""
    assert "Price" not in composition(result)
