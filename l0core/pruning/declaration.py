"""What the pruning kind declares of itself to API, terminal, worker and pages."""

from l0core.kind import Example, Kind, Question
from l0core.pruning.inputs import PruningInputs, PruningQuestion
from l0core.pruning.options import PruningHyperparameters

_ROWS = [[0.1, 1.0], [1.0, 0.2], [0.0, 0.8], [0.9, 0.1], [0.3, 1.1], [1.2, 0.4], [0.2, 0.9], [0.8, 0.0]]
KIND = Kind(
    name="pruning",
    summary="A smaller network that answers as well: units or weights chosen by gates, trained beside a dense twin.",
    hyperparameters=PruningHyperparameters,
    inputs=PruningInputs,
    problem="l0core.pruning.problem:PruningProblem",
    run="l0core.pruning.run:run",
    curves=(
        "loss",
        "dense_loss",
        "holdout_loss",
        "dense_holdout_loss",
        "holdout_score",
        "dense_holdout_score",
        "parameters",
        "lambda_l0",
        "temperature",
        "learning_rate",
        "epoch_seconds",
    ),
    artifacts={
        "model.safetensors": "the weights of the compact network, `layers.{i}.weight` and `layers.{i}.bias`, float32",
        "architecture.json": "its layers, in the form of a problem's network",
        "model.onnx": "the compact network with its weights, for any runtime",
        "pruning_log.csv": "the loss curves",
        "run_config.json": "what was run: problem, hyperparameters, seed, versions",
        "report.html": "the result as one self-contained page",
        "checkpoint.safetensors": "the state of the training at its end",
    },
    question=Question(
        inputs=PruningQuestion,
        artifacts=("model.safetensors", "architecture.json"),
        answer="l0core.pruning.forward:answer",
    ),
    example=Example(
        summary="Two classes of eight rows, told apart by a network of one hidden layer",
        problem={
            "features": _ROWS,
            "outcome": [0, 1, 0, 1, 0, 1, 0, 1],
            "task": "classification",
            "network": {"layers": [{"type": "linear", "units": 8}, {"type": "relu"}, {"type": "linear", "units": 2}]},
        },
        hyperparameters={"target_sparsity": 0.5, "epochs": 20, "finetune_epochs": 5},
        question={"features": _ROWS[:2]},
    ),
)
