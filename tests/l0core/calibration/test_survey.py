"""Two plain tables become a problem: what a total's condition selects, and what is read from the files."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from l0core.calibration.survey import Survey, TargetSpec, contribution, read_survey, where
from l0core.errors import InvalidInput

UNITS = {
    "weight": np.array([10.0, 20.0, 30.0]),
    "agi": np.array([5.0, -1.0, 100.0]),
    "state": np.array(["MN", "WI", "MN"]),
}


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("", [True, True, True]),
        ("  ", [True, True, True]),
        ("agi == 5", [True, False, False]),
        ("agi != 5", [False, True, True]),
        ("agi > -1", [True, False, True]),
        ("agi >= -1", [True, True, True]),
        ("agi < 1e2", [True, True, False]),
        ("agi <= 100.0", [True, True, True]),
        ("state == 'MN'", [True, False, True]),
        ('state != "MN"', [False, True, False]),
        ("state == MN and agi > 50", [False, False, True]),
        ("  agi>0  and  agi<50 ", [True, False, False]),
    ],
)
def test_a_condition_selects_the_units_for_which_every_comparison_holds(condition: str, chosen: list[bool]) -> None:
    assert where(UNITS, condition).tolist() == chosen


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("agi", "'agi' is not a comparison"),
        ("agi = 5", "not a comparison"),
        ("income > 5", "there is no column 'income'; there are weight, agi, state"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(condition: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        where(UNITS, condition)


@pytest.mark.parametrize("condition", ["agi > much", "agi > 1 or agi < 0", "agi > 1 or agi < 0 and"])
def test_a_number_compared_with_a_word_is_refused_by_name(condition: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{condition}' compares numbers with"):
        where(UNITS, condition)


def test_a_total_sums_its_variable_or_counts_units_where_its_condition_holds() -> None:
    spec = TargetSpec(name="x", value=0.0, variable="agi", where="state == MN")
    assert contribution(UNITS, spec).tolist() == [5.0, 0.0, 100.0]
    assert contribution(UNITS, TargetSpec(name="x", value=0.0, where="agi > 0")).tolist() == [1.0, 0.0, 1.0]
    assert contribution(UNITS, TargetSpec(name="x", value=0.0)).tolist() == [1.0, 1.0, 1.0]


def test_a_survey_is_a_matrix_of_targets_by_units() -> None:
    survey = Survey(
        units=UNITS,
        targets=(TargetSpec(name="people", value=70.0), TargetSpec(name="income", value=3000.0, variable="agi")),
    )
    assert survey.matrix().toarray().tolist() == [[1.0, 1.0, 1.0], [5.0, -1.0, 100.0]]
    assert (survey.names, survey.values.tolist()) == (["people", "income"], [70.0, 3000.0])
    assert survey.weights().tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(InvalidInput, match="no column 'd'"):
        survey.weights("d")


@pytest.mark.parametrize("zipped", [True, False])
def test_both_tables_are_read_zipped_or_not(zipped: bool, tmp_path: Path) -> None:
    units = "weight,agi,state\n10,5,MN\n20,-1,WI\n"
    path = tmp_path / ("units.csv.gz" if zipped else "units.csv")
    path.write_bytes(gzip.compress(units.encode()) if zipped else units.encode())
    targets = tmp_path / "targets.csv"
    targets.write_text('name,value,variable,where,source\n"Income, all",1e3,agi,,"SOI, table 2"\nPeople,30,,agi > 0,\n')
    survey = read_survey(path, targets)
    assert survey.targets == (
        TargetSpec(name="Income, all", value=1000.0, variable="agi", where="", source="SOI, table 2"),
        TargetSpec(name="People", value=30.0, variable="", where="agi > 0", source=""),
    )
    assert survey.units["state"].tolist() == ["MN", "WI"]
    assert survey.matrix().toarray().tolist() == [[5.0, -1.0], [1.0, 0.0]]


def test_the_minnesota_example_is_a_sound_problem() -> None:
    from l0core.calibration.problem import CalibrationProblem

    folder = Path(__file__).parents[3] / "examples" / "minnesota_2022"
    survey = read_survey(folder / "households.csv.gz", folder / "targets_spec.csv")
    problem = CalibrationProblem.build(
        survey.matrix(), survey.values, initial_weights=survey.weights(), target_names=survey.names
    )
    assert problem.n_targets == len(survey.targets)
    assert not [finding for finding in problem.findings if finding.severity == "error"]
