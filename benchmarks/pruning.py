"""Prunes networks to a tenth of their parameters over five seeds, beside dense twins and magnitude pruning.

python benchmarks/pruning.py

Magnitude pruning (Han et al. 2015, arXiv 1506.02626): the dense network after as many epochs, its smallest weights
taken away (or its units with the smallest norms, in units of their layer's mean) until as many parameters stay, and as
many epochs after. Same rows, same batches, same optimiser, same rates, same starting weights.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import report
import torch
from sklearn.datasets import load_breast_cancer, load_digits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from l0core.context import RunContext  # noqa: E402  # put on the path above
from l0core.penalties import compute_l2_penalty  # noqa: E402
from l0core.pruning.choice import Ranking, choose  # noqa: E402
from l0core.pruning.data import prepare  # noqa: E402
from l0core.pruning.forward import answer  # noqa: E402
from l0core.pruning.judging import judged, loss_of  # noqa: E402
from l0core.pruning.learner import Learner  # noqa: E402
from l0core.pruning.modules import masks_by_name, plain_network, starting_weights, weights_of  # noqa: E402
from l0core.pruning.onnx_model import Runtime  # noqa: E402
from l0core.pruning.options import PruningHyperparameters  # noqa: E402
from l0core.pruning.price import goal_of  # noqa: E402
from l0core.pruning.problem import PruningProblem  # noqa: E402
from l0core.pruning.result import PruningResult  # noqa: E402
from l0core.pruning.run import run  # noqa: E402
from l0core.pruning.schedules import Schedules  # noqa: E402
from l0core.pruning.seeds import Purpose, seed_for  # noqa: E402

SEEDS = range(5)
HEAD = (
    "Default hyperparameters (target sparsity 0.9), one thread. Accuracy on rows held out (a quarter of 1,797 digits, "
    "two fifths of 569 cases), a split a seed. Each cell: median of five seeds (lowest to highest). Differences are "
    "taken seed by seed. The last column is the largest difference of an output of the ONNX model, run by onnxruntime, "
    "and of the service's prediction, over all rows and seeds.\n\n"
    "| problem, network | gates on | parameters: dense, kept | accuracy, %: dense twin | compact | magnitude pruning | "
    "compact less dense, points | compact less magnitude, points | microseconds a call of 256 rows: dense, compact | "
    "ONNX and predictions differ by |\n|---|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A problem and where its gates are."""

    name: str
    problem: PruningProblem
    structured: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One seed of a case: accuracies in percent, and the rest."""

    dense: float
    compact: float
    magnitude: float
    result: PruningResult
    differs: float


def cases() -> Iterator[Case]:
    """Give every case."""
    for name, problem in (("digits, 64-256-256-10", _digits(_mlp(256, 256, 10))), ("cancer, 30-64-64-2", _cancer())):
        yield Case(name=name, problem=problem, structured=True)
        yield Case(name=name, problem=problem, structured=False)
    yield Case(name="digits, 2 convolutions", problem=_digits(_convolutions()), structured=True)


def main() -> None:
    """Train, measure, keep."""
    rows = [_row(case, [_seen(case, seed) for seed in SEEDS]) for case in cases()]
    report.keep("pruning", "Networks pruned to a tenth of their parameters", HEAD + "\n".join([*rows, ""]))


def _seen(case: Case, seed: int) -> Seen:
    options = PruningHyperparameters(structured=case.structured)
    result = run(case.problem, options, RunContext(seed=seed))
    assert isinstance(result, PruningResult)  # noqa: S101  # nobody says stop
    accuracy = result.summary["accuracy"]
    return Seen(
        dense=100 * accuracy["dense"]["holdout"],
        compact=100 * accuracy["compact"]["holdout"],
        magnitude=100 * magnitude_pruned(case.problem, options, seed),
        result=result,
        differs=_difference(result, case.problem),
    )


def magnitude_pruned(problem: PruningProblem, options: PruningHyperparameters, seed: int) -> float:
    """Give the accuracy on the rows held out after magnitude pruning to the same number of parameters."""
    torch.set_num_threads(1)
    data = prepare(problem, seed, "cpu")
    schedules = Schedules(options=options, steps_per_epoch=-(-len(data.training) // options.batch_size))
    loss_function = loss_of(problem.task)

    def train(learner: Learner, epochs: range) -> None:
        for epoch in epochs:
            rate = schedules.learning_rate(epoch)
            learner.set_rates(rate, rate)
            generator = torch.Generator().manual_seed(seed_for(Purpose.ORDER, seed, 1 + epoch))
            for batch in torch.randperm(len(data.training), generator=generator).split(options.batch_size):
                loss = loss_function(learner.network(data.training.rows[batch]), data.training.outcome[batch])
                learner.step(loss + options.lambda_l2 * compute_l2_penalty(learner.network))

    dense = Learner.of(plain_network(problem.plan, starting_weights(problem, seed, data.scale)))
    train(dense, range(options.epochs))
    masks = choose(_by_magnitude(dense, problem, options), goal_of(problem.plan, options))
    network = plain_network(problem.plan, weights_of(dense.network))
    pruned = Learner.of(network, masks=masks_by_name(masks, problem.plan, "cpu"))
    train(pruned, range(options.epochs, options.all_epochs))
    return judged(pruned.network, data.holdout, problem.task).right


def _by_magnitude(dense: Learner, problem: PruningProblem, options: PruningHyperparameters) -> list[Ranking]:
    found, places = [], problem.plan.weighted
    for place in places:
        weight = dense.network.get_parameter(f"{place.index}.weight").detach().abs().double().numpy()
        sizes = weight.reshape(place.by_unit)
        norms = np.sqrt((sizes**2).sum((1, 2)))
        scores = norms / norms.mean() if options.structured else sizes
        if options.structured and place.index == places[-1].index:
            scores = np.full(place.units, np.inf)
        found.append(Ranking(by_unit=options.structured is True, scores=scores, sizes=sizes))
    return found


def _difference(result: PruningResult, problem: PruningProblem) -> float:
    with tempfile.TemporaryDirectory() as folder:
        files = {artifact.name: artifact.path for artifact in result.write(Path(folder))}
        said = answer({"features": problem.features}, files)["values"]
        outputs = Runtime(files["model.onnx"].read_bytes())(problem.features.astype(np.float32))
    return float(np.abs(np.array(said) - outputs).max())


def _row(case: Case, seen: list[Seen]) -> str:
    sizes = seen[0].result.summary["parameters"]
    kept = [each.result.kept for each in seen]
    times = [each.result.summary["latency_microseconds"] for each in seen]
    cells = (
        case.name,
        "units" if case.structured else "weights",
        f"{sizes['dense']:,}, {_spread(kept, ',.0f')}",
        _spread([each.dense for each in seen]),
        _spread([each.compact for each in seen]),
        _spread([each.magnitude for each in seen]),
        _spread([each.compact - each.dense for each in seen], "+.2f"),
        _spread([each.compact - each.magnitude for each in seen], "+.2f"),
        ", ".join(f"{median(time[name]['all_rows'] for time in times):.0f}" for name in ("dense", "compact")),
        f"{max(each.differs for each in seen):.1e}",
    )
    row = f"| {' | '.join(cells)} |"
    sys.stderr.write(f"{row}\n")
    return row


def _spread(values: list[Any], form: str = ".2f") -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _mlp(*units: int) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []
    for width in units[:-1]:
        layers += [{"type": "linear", "units": width}, {"type": "relu"}]
    return {"layers": [*layers, {"type": "linear", "units": units[-1]}]}


def _convolutions() -> dict[str, Any]:
    convolution = {"type": "conv2d", "kernel_size": 3, "padding": 1}
    return {
        "input_shape": [1, 8, 8],
        "layers": [
            convolution | {"channels": 16},
            {"type": "relu"},
            {"type": "max_pool2d", "kernel_size": 2},
            convolution | {"channels": 32},
            {"type": "relu"},
            {"type": "flatten"},
            {"type": "linear", "units": 64},
            {"type": "relu"},
            {"type": "linear", "units": 10},
        ],
    }


def _digits(network: dict[str, Any]) -> PruningProblem:
    images, labels = load_digits(return_X_y=True)
    return PruningProblem.build(images / 16, labels, task="classification", network=network, holdout_fraction=0.25)


def _cancer() -> PruningProblem:
    rows, labels = load_breast_cancer(return_X_y=True)
    scaled = (rows - rows.mean(0)) / rows.std(0)
    return PruningProblem.build(scaled, labels, task="classification", network=_mlp(64, 64, 2), holdout_fraction=0.4)


if __name__ == "__main__":
    main()
