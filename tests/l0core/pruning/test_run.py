"""A pruning from beginning to end: the target, the twin, bits, stops, and what is left behind."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file

from l0core.context import CheckpointPolicy, EpochReport, FindingReport, Report, RunContext, StageReport, Stopped
from l0core.errors import CheckpointIncompatible, Diverged, InvalidHyperparameter
from l0core.kinds import KINDS
from l0core.pruning.forward import answer, forward
from l0core.pruning.network import Plan
from l0core.pruning.onnx_model import Runtime
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.problem import PruningProblem
from l0core.pruning.result import PruningResult
from l0core.pruning.run import run
from tests.l0core.pruning.networks import a_line, images, mlp, options, random_weights, rows, two_classes

FORMS: dict[str, Any] = {"by unit": True, "by weight": False}


def pruned(
    problem: PruningProblem, hyperparameters: PruningHyperparameters | None = None, **context: Any
) -> PruningResult:
    result = run(problem, hyperparameters or options(), RunContext(**({"seed": 1} | context)))
    assert isinstance(result, PruningResult)
    return result


def same_bits(one: PruningResult, other: PruningResult) -> None:
    for name, array in one.compact.weights.items():
        np.testing.assert_array_equal(array, other.compact.weights[name])
    for name, array in one.dense.weights.items():
        np.testing.assert_array_equal(array, other.dense.weights[name])
    timeless = [{k: v for k, v in each.history.metrics.items() if k != "epoch_seconds"} for each in (one, other)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("structured", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("problem", [two_classes, images, a_line])
def test_the_target_is_met_and_the_network_is_what_it_says(
    structured: bool, problem: Callable[[], PruningProblem]
) -> None:
    result = pruned(problem(), options(structured=structured))
    parameters = result.summary["parameters"]
    assert abs(parameters["kept"] - parameters["target"]) <= 0.01 * parameters["dense"]
    assert result.compact.nonzeros <= parameters["kept"] <= result.compact.plan.parameters == parameters["stored"]
    assert parameters["kept"] >= result.compact.nonzeros - 1  # a weight may be 0 by chance, hardly two


@pytest.mark.parametrize("structured", FORMS.values(), ids=FORMS)
def test_a_target_in_parameters_is_met(structured: bool) -> None:
    result = pruned(two_classes(), options(target_sparsity=None, target_parameters=77, structured=structured))
    assert abs(result.kept - 77) <= 0.01 * result.dense.plan.parameters


def test_layers_by_unit_and_by_weight_go_together() -> None:
    result = pruned(two_classes(), options(structured=[0]))
    assert abs(result.kept - result.summary["parameters"]["target"]) <= 3


def test_a_price_keeps_fewer_parameters_the_higher_it_is() -> None:
    settings: dict[str, Any] = {"target_sparsity": None, "structured": False, "epochs": 12}
    kept = [pruned(two_classes(), options(lambda_l0=price, **settings)).kept for price in (0.0, 0.3, 30.0)]
    assert kept[0] > kept[1] > kept[2] >= 5
    assert pruned(two_classes(), options(lambda_l0=0.0, **settings)).summary["parameters"]["target"] is None


def test_a_pruned_network_still_tells_the_classes_apart() -> None:
    result = pruned(two_classes(), options(target_sparsity=0.7, epochs=40, finetune_epochs=20))
    accuracy = result.summary["accuracy"]
    assert accuracy["compact"]["holdout"] >= accuracy["dense"]["holdout"] - 0.06  # one row of 18
    assert accuracy["compact"]["training"] > 0.9


def test_a_regression_far_from_zero_is_learned_in_its_own_unit() -> None:
    problem = a_line()
    result = pruned(problem, options(epochs=40, finetune_epochs=20))
    assert result.summary["r2"]["compact"]["holdout"] > 0.9
    outputs = forward(result.compact.plan, result.compact.weights, problem.features.astype(np.float32))[:, 0]
    rmse = np.sqrt(np.mean((outputs - problem.outcome) ** 2))
    assert rmse == pytest.approx(
        np.mean([result.summary["rmse"]["compact"][p] for p in ("training", "holdout")]), rel=0.5
    )


def test_the_twin_is_the_network_trained_without_gates_whatever_is_pruned_beside_it() -> None:
    results = [pruned(two_classes(), options(target_sparsity=sparsity)) for sparsity in (0.2, 0.8)]
    for name, array in results[0].dense.weights.items():
        np.testing.assert_array_equal(array, results[1].dense.weights[name])


def test_starting_weights_are_where_both_networks_begin() -> None:
    given = random_weights(Plan.of(two_classes().plan.network, 6), 5)
    still = options(learning_rate=1e-30, target_sparsity=0.0, lambda_l2=0.0, init_sparsity=1e-6)
    result = pruned(two_classes(starting_weights=given), still)
    for name, array in given.items():
        np.testing.assert_array_equal(result.dense.weights[name], array)
        np.testing.assert_allclose(result.compact.weights[name], array, rtol=1e-6)


def test_starting_weights_of_a_regression_give_outcomes_in_its_own_unit() -> None:
    given = random_weights(a_line().plan, 5)
    still = options(learning_rate=1e-30, target_sparsity=0.0, lambda_l2=0.0)
    result = pruned(a_line(starting_weights=given), still)
    for name, array in given.items():
        np.testing.assert_allclose(result.dense.weights[name], array, rtol=1e-3, atol=1e-3)


def test_without_rows_held_out_the_training_rows_judge() -> None:
    result = pruned(two_classes(holdout_fraction=0.0))
    assert result.summary["accuracy"]["compact"]["holdout"] is None
    assert "holdout_loss" not in result.history.metrics


# --- the files


def test_the_files_are_whole_and_agree(tmp_path: Path) -> None:
    problem = images()
    result = pruned(problem, checkpoints=CheckpointPolicy(folder=tmp_path / "run"))
    files = {artifact.name: artifact.path for artifact in result.write(tmp_path / "out")}
    assert files.keys() == KINDS["pruning"].artifacts.keys()
    onnx.checker.check_model(onnx.load(files["model.onnx"]), full_check=True)
    x = problem.features[:20]
    said = answer({"features": x}, files)
    outputs = Runtime(files["model.onnx"].read_bytes())(x.astype(np.float32))
    np.testing.assert_allclose(said["values"], outputs, atol=1e-5)
    assert json.loads(files["run_config.json"].read_text())["problem_sha256"] == problem.sha256
    assert load_file(files["model.safetensors"]).keys() == result.compact.weights.keys()
    assert len(files["pruning_log.csv"].read_text().splitlines()) == 1 + len(result.history.steps)


def test_a_compact_network_can_be_posted_again(tmp_path: Path) -> None:
    result = pruned(two_classes())
    files = {artifact.name: artifact.path for artifact in result.write(tmp_path)}
    network = json.loads(files["architecture.json"].read_text())["network"]
    again = two_classes(network=network, starting_weights=load_file(files["model.safetensors"]))
    assert again.plan.parameters == result.summary["parameters"]["stored"]


def test_the_report_is_one_page_that_loads_nothing(tmp_path: Path) -> None:
    result = pruned(two_classes())
    page = next(artifact.path for artifact in result.write(tmp_path) if artifact.name == "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert re.findall(r"<script|\bsrc=|\bhref=|url\(|@import", page) == []
    assert f"{result.kept:,} of {result.dense.plan.parameters:,} parameters" in page


def test_markup_in_what_was_run_is_text_in_the_report(tmp_path: Path) -> None:
    result = pruned(two_classes())
    hostile = replace(result, identity=result.identity.model_copy(update={"engine": "<script>alert(1)</script>"}))
    page = next(artifact.path for artifact in hostile.write(tmp_path) if artifact.name == "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_summary_is_json_and_target_rows_are_none() -> None:
    result = pruned(two_classes(holdout_fraction=0.0))
    json.dumps(result.summary, allow_nan=False)
    assert list(result.target_rows()) == []


# --- bits, stops and what is told


def test_the_same_seed_gives_the_same_bits_and_another_gives_others() -> None:
    one, same, other = (pruned(two_classes(), seed=seed) for seed in (3, 3, 4))
    same_bits(one, same)
    assert not np.array_equal(one.dense.weights["layers.0.weight"], other.dense.weights["layers.0.weight"])


def test_logs_checkpoints_and_global_generators_change_nothing(tmp_path: Path) -> None:
    plain = pruned(two_classes(), log_every=1)
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    policy = CheckpointPolicy(folder=tmp_path, every_epochs=1)
    torch.manual_seed(99)
    seeded = torch.get_rng_state()
    watched = pruned(two_classes(), log_every=1, checkpoints=policy)
    same_bits(plain, watched)
    assert torch.equal(torch.get_rng_state(), seeded)
    assert str(np.random.get_state(legacy=False)) == str(before[1])
    torch.set_rng_state(before[0])


def stop_after(epochs: int) -> Callable[[], bool]:
    asked = itertools.count()
    return lambda: next(asked) >= epochs


@pytest.mark.parametrize("structured", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("epoch", range(8))
def test_a_resumed_run_ends_with_the_bits_of_one_that_was_never_stopped(
    epoch: int, structured: bool, tmp_path: Path
) -> None:
    settings, policy = options(structured=structured), CheckpointPolicy(folder=tmp_path)
    whole = pruned(two_classes(), settings)
    stopped = run(two_classes(), settings, RunContext(seed=1, checkpoints=policy, should_stop=stop_after(epoch)))
    assert stopped == Stopped(epoch=epoch)
    same_bits(whole, pruned(two_classes(), settings, resume_from=policy.path))


def test_a_run_may_be_stopped_after_every_epoch(tmp_path: Path) -> None:
    policy, settings = CheckpointPolicy(folder=tmp_path), options()
    resume: Path | None = None
    for epoch in range(7):
        context = RunContext(seed=1, checkpoints=policy, should_stop=stop_after(1 if epoch else 0), resume_from=resume)
        assert run(two_classes(), settings, context) == Stopped(epoch=epoch)
        resume = policy.path
    same_bits(pruned(two_classes(), settings), pruned(two_classes(), settings, resume_from=policy.path))


@pytest.mark.parametrize(
    "other",
    [
        {"problem": two_classes(holdout_fraction=0.3)},
        {"settings": options(learning_rate=0.02)},
        {"seed": 2},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    pruned(two_classes(), checkpoints=policy)
    with pytest.raises(CheckpointIncompatible, match="belongs to another run"):
        pruned(
            other.get("problem", two_classes()),
            other.get("settings", options()),
            seed=other.get("seed", 1),
            resume_from=policy.path,
        )


def test_a_new_run_goes_on_from_where_another_stood(tmp_path: Path) -> None:
    policy, told = CheckpointPolicy(folder=tmp_path), list[Report]()
    first = pruned(two_classes(), options(finetune_epochs=0), checkpoints=policy)
    still = options(epochs=1, finetune_epochs=0, learning_rate=1e-30)
    second = pruned(two_classes(), still, continue_from=policy.path, report=told.append)
    np.testing.assert_array_equal(first.dense.weights["layers.0.weight"], second.dense.weights["layers.0.weight"])
    codes = [report.code for report in told if isinstance(report, FindingReport)]
    assert codes == ["continued_with_changes"]
    assert second.history.steps == [1]


def test_a_new_run_goes_on_from_a_stopped_one_and_draws_what_comes_next(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    run(two_classes(), options(), RunContext(seed=1, checkpoints=policy, should_stop=stop_after(3)))
    result = pruned(two_classes(), options(target_sparsity=0.3), continue_from=policy.path)
    assert abs(result.kept - result.summary["parameters"]["target"]) <= 3


def test_a_run_goes_on_neither_from_another_problem_nor_from_other_gates(tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    pruned(two_classes(), checkpoints=policy)
    with pytest.raises(CheckpointIncompatible, match="belongs to the problem"):
        pruned(images(), continue_from=policy.path)
    with pytest.raises(CheckpointIncompatible, match="give the `structured` it was made with"):
        pruned(two_classes(), options(structured=False), continue_from=policy.path)


def test_stages_and_every_declared_curve_are_told() -> None:
    told: list[Report] = []
    pruned(two_classes(), report=told.append, log_every=1)
    assert [report.stage for report in told if isinstance(report, StageReport)] == [
        "preparing",
        "selecting",
        "evaluating",
    ]
    epochs = [report for report in told if isinstance(report, EpochReport)]
    assert [report.epoch for report in epochs] == list(range(1, 8))
    assert {report.epochs for report in epochs} == {7}
    assert all(tuple(report.metrics) == KINDS["pruning"].curves for report in epochs)


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    x = rows() * 1e14
    problem = PruningProblem.build(x, x[:, 0], task="regression", network=mlp(40, 40, 40, 40, 1))
    with pytest.raises(Diverged, match="lower learning_rate"):
        pruned(problem, options(learning_rate=1.0), checkpoints=CheckpointPolicy(folder=tmp_path))


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"target_sparsity": 0.999}, "target_sparsity"),
        ({"target_sparsity": None, "target_parameters": 6}, "target_parameters"),
        ({"target_sparsity": None, "target_parameters": 10_000}, "target_parameters"),
        ({"structured": [4]}, "structured"),
        ({"structured": [1]}, "structured"),
    ],
)
def test_what_this_network_cannot_be_is_refused_by_name(changed: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidHyperparameter) as refused:
        pruned(two_classes(), options(**changed))
    assert refused.value.pointer == f"/hyperparameters/{pointer}"


def test_units_of_a_network_without_any_inside_cannot_go() -> None:
    problem = two_classes(network=mlp(2))
    with pytest.raises(InvalidHyperparameter, match="give false"):
        pruned(problem)
    assert abs(pruned(problem, options(structured=False)).kept - 7) <= 1


def test_a_batch_that_fits_no_machine_is_refused() -> None:
    layers = [{"type": "conv2d", "channels": 500, "kernel_size": 3, "padding": 40}, {"type": "flatten"}]
    network = {"input_shape": [1, 6, 6], "layers": [*layers, {"type": "linear", "units": 2}]}
    with pytest.raises(InvalidHyperparameter, match="rows fit"):
        pruned(images(network=network), options(batch_size=60))


def test_units_are_told_of_every_layer_with_weights() -> None:
    result = pruned(images(), options(structured=[0]))
    assert [unit["layer"] for unit in result.units()] == [0, 4, 6]
