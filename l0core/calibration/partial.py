"""What a checkpoint is worth where its run came to no end: the weights in it. Torch-free, for those who only read."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from l0core.arrays import FloatArray
from l0core.errors import CheckpointIncompatible

WEIGHTS = "weights"  # under this name a checkpoint has the weights of all units of the problem


def weights_in(checkpoint: Path) -> FloatArray:
    """Give the weights of all units of the problem as the selection stood at the checkpoint's epoch.

    Each is exp(log_weight) times its test-time gate; `active` and the errors of that epoch's metrics are theirs. What
    only the end of a run brings is not in them: the exact record budget, bounds of weights, units that stay, a refit.
    Raises CheckpointIncompatible where the file holds none.
    """
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            held = file.get_tensor(WEIGHTS) if WEIGHTS in file.keys() else None  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise CheckpointIncompatible("the file is not a checkpoint of this engine") from error
    if held is None:
        raise CheckpointIncompatible("the checkpoint was written by an engine that kept no weights in it")
    return np.asarray(held, dtype=np.float64)
