"""The state on disk: what is written is what is read, and only by the run it belongs to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor

from l0core import checkpoint
from l0core.calibration.options import CalibrationHyperparameters
from l0core.checkpoint import Identity
from l0core.errors import CheckpointIncompatible
from l0core.history import History

OPTIONS = CalibrationHyperparameters(learning_rate=0.1 + 0.2, group_multipliers={"1": 1 / 3}).model_dump()
IDENTITY = Identity(problem_sha256="ab" * 32, hyperparameters=OPTIONS, seed=2**63)


def _tensors() -> dict[str, Tensor]:
    theta = torch.stack([torch.arange(3.0), torch.full((3,), torch.finfo(torch.float32).tiny)])
    return {
        "log_weight": theta[0],  # two views of one storage, as a selection hands them over
        "log_alpha": theta[1],
        "lambda_l0": torch.tensor(1 / 3, dtype=torch.float64),
        "gradient_unit": torch.tensor(2.0**-40, dtype=torch.float64),
    }


def _history() -> History:
    return History(steps=[0, 5], metrics={"loss": [1 / 3, 0.1]}, snapshots={0: np.array([1 / 3, 2.0]), 5: np.zeros(2)})


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "c.safetensors", IDENTITY, 7, _tensors(), _history())
    epoch, tensors, history = checkpoint.read(tmp_path / "c.safetensors", IDENTITY)
    assert epoch == 7
    for name, tensor in _tensors().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert (history.steps, history.metrics) == (_history().steps, _history().metrics)
    assert {e: v.tolist() for e, v in history.snapshots.items()} == {0: [1 / 3, 2.0], 5: [0.0, 0.0]}


def test_nothing_but_the_checkpoint_remains_in_the_folder(tmp_path: Path) -> None:
    for epoch in (1, 2):
        checkpoint.write(tmp_path / "c.safetensors", IDENTITY, epoch, _tensors(), _history())
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]
    assert checkpoint.read(tmp_path / "c.safetensors", IDENTITY)[0] == 2


def test_a_write_that_fails_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, IDENTITY, 1, _tensors(), _history())
    path.with_suffix(".tmp").mkdir()  # the new one cannot be written
    with pytest.raises(Exception, match="directory"):
        checkpoint.write(path, IDENTITY, 2, _tensors(), _history())
    assert checkpoint.read(path, IDENTITY)[0] == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"problem_sha256": "cd" * 32}, "problem_sha256"),
        ({"hyperparameters": OPTIONS | {"epochs": 501}}, "hyperparameters"),
        ({"seed": 1}, "seed"),
        ({"engine": "0.0.0"}, "engine"),
        ({"engine": "0.0.0", "seed": 1}, "seed, engine"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(
    changed: dict[str, Any], named: str, tmp_path: Path
) -> None:
    checkpoint.write(tmp_path / "c.safetensors", IDENTITY, 7, _tensors(), _history())
    with pytest.raises(CheckpointIncompatible, match=f"{named} differ"):
        checkpoint.read(tmp_path / "c.safetensors", IDENTITY.model_copy(update=changed))


@pytest.mark.parametrize("content", ["garbage", "another"])
def test_a_file_that_is_no_checkpoint_is_refused_as_such(content: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"garbage")
    if content == "another":
        save_file({"a": np.ones(2)}, path)
    with pytest.raises(CheckpointIncompatible, match="not a checkpoint of this engine"):
        checkpoint.read(path, IDENTITY)
