"""The files of a calibration: the names and columns that are promised, and nothing that bites whoever opens them."""

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l0core.artifacts import safe_cell
from l0core.calibration.export import MOST_PAST_CAP, MOST_TARGETS, run_config
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.context import CheckpointPolicy, RunContext
from l0core.findings import Finding
from l0core.kind import Artifact
from tests.problems import by_hand, planted_findings

LOG = "target_name,estimate,target,epoch,error,rel_error,abs_error,rel_abs_error,loss,achievable"
DIAGNOSTICS = "target,true_value,estimate,rel_error,abs_rel_error,achievable"
NAMES = ["=1+1", "@SUM(A1)", 'plain, with "quotes" and \u00fcml\u00e4ut']


def _result(problem: CalibrationProblem, context: RunContext | None = None, **changed: Any) -> CalibrationResult:
    options = CalibrationHyperparameters(**({"epochs": 10} | changed))
    result = run(problem, options, context or RunContext(seed=5))
    assert isinstance(result, CalibrationResult)
    return result


def _written(result: CalibrationResult, folder: Path) -> dict[str, Artifact]:
    return {artifact.name: artifact for artifact in result.write(folder)}


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _strict(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def _renamed() -> CalibrationProblem:
    problem = by_hand()
    return CalibrationProblem.build(
        problem.matrix, problem.targets, initial_weights=problem.design_weights, target_names=NAMES
    )


def test_the_weights_come_back_to_the_last_bit(tmp_path: Path) -> None:
    result = _result(by_hand())
    artifact = _written(result, tmp_path)["calibration_weights.npy"]
    loaded = np.load(artifact.path, allow_pickle=False)
    assert loaded.dtype == np.float64
    assert loaded.tobytes() == result.weights.tobytes()
    assert artifact.content_type == "application/x-npy"


@pytest.mark.parametrize(("name", "columns"), [("calibration_log.csv", LOG), ("unified_diagnostics.csv", DIAGNOSTICS)])
def test_a_table_has_the_columns_the_field_reads(name: str, columns: str, tmp_path: Path) -> None:
    artifact = _written(_result(by_hand()), tmp_path)[name]
    assert artifact.path.read_text(encoding="utf-8").splitlines()[0] == columns
    assert artifact.content_type == "text/csv; charset=utf-8"


def test_the_diagnostics_are_the_rows_of_the_result(tmp_path: Path) -> None:
    result = _result(by_hand())
    table = _table(_written(result, tmp_path)["unified_diagnostics.csv"].path)
    for row, cells in zip(result.target_rows(), table, strict=True):
        assert cells["target"] == row["name"]
        assert float(cells["true_value"]) == row["value"]
        assert float(cells["estimate"]) == row["estimate"]
        assert float(cells["rel_error"]) == row["relative_error"]
        assert float(cells["abs_rel_error"]) == row["abs_relative_error"]
        assert cells["achievable"] == "True"


def test_the_log_holds_every_target_at_every_kept_epoch(tmp_path: Path) -> None:
    result = _result(by_hand(), RunContext(log_every=5))
    table = _table(_written(result, tmp_path)["calibration_log.csv"].path)
    assert [int(cells["epoch"]) for cells in table] == [0] * 3 + [5] * 3 + [10] * 3
    losses = dict(zip(result.history.steps, result.history.metrics["loss"], strict=True))
    for cells in table:
        estimate, target = float(cells["estimate"]), float(cells["target"])
        assert float(cells["error"]) == estimate - target
        assert float(cells["abs_error"]) == abs(estimate - target)
        assert float(cells["rel_error"]) == pytest.approx((estimate - target) / target)
        assert float(cells["rel_abs_error"]) == abs(float(cells["rel_error"]))
        assert float(cells["loss"]) == losses[int(cells["epoch"])]


def test_a_long_run_logs_at_most_twenty_epochs(tmp_path: Path) -> None:
    table = _table(_written(_result(by_hand(), epochs=1000), tmp_path)["calibration_log.csv"].path)
    epochs = {int(cells["epoch"]) for cells in table}
    assert len(epochs) <= 20
    assert {0, 1000} <= epochs


def test_a_target_with_an_error_among_its_findings_is_not_achievable(tmp_path: Path) -> None:
    planted = planted_findings()
    doubtful = ("duplicate_targets", "degenerate_target")  # no errors
    result = _result(planted.problem)
    hopeless = set[str]().union(*(named for code, named in planted.named.items() if code not in doubtful))
    hopeless |= {found.target for found in result.findings if found.severity == "error" and found.target}
    artifacts = _written(result, tmp_path)
    for name, key in (("unified_diagnostics.csv", "target"), ("calibration_log.csv", "target_name")):
        table = _table(artifacts[name].path)
        assert {cells[key] for cells in table if cells["achievable"] == "False"} == hopeless


def test_a_target_the_run_found_hopeless_is_not_achievable(tmp_path: Path) -> None:
    severities = ("warning", "info", "error")
    found = tuple(
        Finding(code="planted", severity=severity, target="x", index=i, message="")
        for i, severity in enumerate(severities)
    )
    artifacts = _written(dataclasses.replace(_result(by_hand()), findings=found), tmp_path)
    table = _table(artifacts["unified_diagnostics.csv"].path)
    assert [cells["achievable"] for cells in table] == ["True", "True", "False"]
    listed = _strict(artifacts["calibration_diagnostics.json"].path)["findings"]
    assert [finding["code"] for finding in listed[-3:]] == ["planted"] * 3


def test_the_diagnostics_say_what_the_loss_is_made_of(tmp_path: Path) -> None:
    result = _result(by_hand(), record_budget=1)
    found = _strict(_written(result, tmp_path)["calibration_diagnostics.json"].path)
    targets = found["attribution"]["targets"]
    assert [row["loss"] for row in targets] == sorted(result.parts[result.parts > 0].tolist(), reverse=True)
    assert [row["name"] for row in targets] == [result.problem.names[row["index"]] for row in targets]
    assert sum(row["loss_share"] for row in targets) == pytest.approx(1)
    assert {row["group"] for row in found["by_group"]["groups"]} == {1, 2}
    assert found["past_cap"] is None


def test_the_list_of_targets_is_bounded_and_what_is_left_out_is_summed(tmp_path: Path) -> None:
    n = MOST_TARGETS + 10
    result = _result(CalibrationProblem.build(np.ones((n, 1)), np.linspace(1, 2, n)))
    found = _strict(_written(result, tmp_path)["calibration_diagnostics.json"].path)["attribution"]
    assert (len(found["targets"]), found["other_targets"]["n_targets"]) == (MOST_TARGETS, 10)
    listed = math.fsum([*(row["loss"] for row in found["targets"]), found["other_targets"]["loss"]])
    assert listed == pytest.approx(result.loss, rel=1e-12, abs=0)


def test_targets_past_the_cap_are_named_the_farthest_first_and_no_more_than_a_hundred(tmp_path: Path) -> None:
    n = MOST_PAST_CAP + 3
    totals = np.concatenate([np.ones(1), np.linspace(5, 9, n)])
    matrix = np.concatenate([np.ones((1, 1)), np.full((n, 1), 1e-3)])
    result = _result(CalibrationProblem.build(matrix, totals), loss="absolute_relative", loss_cap=0.5)
    found = _strict(_written(result, tmp_path)["calibration_diagnostics.json"].path)["past_cap"]
    assert (found["n_targets"], len(found["targets"]), found["n_left_out"]) == (n, MOST_PAST_CAP, 3)
    assert found["targets"][0]["name"] == f"target_{n}"


def test_a_namesake_of_a_hopeless_target_is_achievable(tmp_path: Path) -> None:
    problem = CalibrationProblem.build([[1.0], [0.0]], [1.0, 1.0], target_names=["twin", "twin"])
    table = _table(_written(_result(problem), tmp_path)["unified_diagnostics.csv"].path)
    assert [cells["achievable"] for cells in table] == ["True", "False"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_taken_for_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    assert safe_cell(f"a{start}1") == f"a{start}1"


def test_names_reach_the_tables_as_text_not_as_formulas(tmp_path: Path) -> None:
    artifacts = _written(_result(_renamed()), tmp_path)
    for name, key in (("unified_diagnostics.csv", "target"), ("calibration_log.csv", "target_name")):
        cells = [row[key] for row in _table(artifacts[name].path)][:3]
        assert cells == ["'=1+1", "'@SUM(A1)", NAMES[2]]


@pytest.mark.parametrize("problem", [by_hand(), planted_findings().problem, _renamed()])
@pytest.mark.parametrize("lambda_l0", [0.0, 1e6])
def test_the_json_files_hold_no_nan_even_when_nothing_is_kept(
    problem: CalibrationProblem, lambda_l0: float, tmp_path: Path
) -> None:
    result = _result(problem, lambda_l0=lambda_l0, epochs=100)
    artifacts = _written(result, tmp_path)
    diagnostics = _strict(artifacts["calibration_diagnostics.json"].path)
    assert diagnostics["summary"] == result.summary
    assert diagnostics["findings"] == [finding.model_dump() for finding in (*problem.findings, *result.findings)]
    assert diagnostics["problem_sha256"] == problem.sha256
    assert _strict(artifacts["run_config.json"].path) == run_config(result)


def test_the_configuration_is_enough_to_run_it_again(tmp_path: Path) -> None:
    result = _result(by_hand(), record_budget=2)
    config = _strict(_written(result, tmp_path)["run_config.json"].path)
    assert (config["kind"], config["problem_sha256"]) == ("calibration", by_hand().sha256)
    again = _result(by_hand(), RunContext(seed=config["seed"]), **config["hyperparameters"])
    assert again.weights.tobytes() == result.weights.tobytes()


def test_without_checkpoints_there_is_no_checkpoint_among_the_files(tmp_path: Path) -> None:
    assert "checkpoint.safetensors" not in _written(_result(by_hand()), tmp_path)


def test_the_checkpoint_is_copied_or_stays_where_it_is(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path / "state")
    result = _result(by_hand(), RunContext(checkpoints=policy))
    copied = _written(result, tmp_path / "out")["checkpoint.safetensors"]
    assert copied.path.read_bytes() == policy.path.read_bytes()
    assert _written(result, policy.folder)["checkpoint.safetensors"].path == policy.path


def test_a_checkpoint_named_by_another_path_to_it_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _result(by_hand(), RunContext(checkpoints=CheckpointPolicy(folder=tmp_path / "state")))
    monkeypatch.chdir(tmp_path)
    assert "checkpoint.safetensors" in _written(result, Path("state"))
