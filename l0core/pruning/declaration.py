"""What the pruning kind declares of itself to API, terminal, worker and pages."""

from l0core.kind import Kind, Question
from l0core.pruning.inputs import PruningInputs, PruningQuestion
from l0core.pruning.options import PruningHyperparameters

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
)
