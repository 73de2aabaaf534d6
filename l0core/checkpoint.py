"""The state of a selection on disk: safetensors for the numbers, JSON in its header for the rest. Never pickle."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from l0core.context import RunContext
from l0core.errors import CheckpointIncompatible
from l0core.history import History
from l0core.version import VERSION

_OS_ERROR = re.compile(r"os error (\d+)")
State = tuple[int, dict[str, Tensor], History]


class Identity(BaseModel):
    """Whose state it is: a checkpoint is taken up only by the same problem, hyperparameters, seed and engine."""

    model_config = ConfigDict(frozen=True)

    problem_sha256: str
    hyperparameters: dict[str, Any]
    seed: int
    engine: str = VERSION


def write(path: Path, identity: Identity, epoch: int, tensors: Mapping[str, Tensor], history: History) -> None:
    """Write a checkpoint so that `path` holds either the old one or the new one, whole, whatever happens meanwhile."""
    header = {
        "identity": identity.model_dump_json(),
        "epoch": str(epoch),
        "stage": "selecting",  # the one that is worth taking up: those before and after it are done again
        "history": json.dumps({"steps": history.steps, "metrics": history.metrics}),
    }
    snapshots = {f"snapshot.{step}": torch.as_tensor(values) for step, values in history.snapshots.items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_suffix(".tmp")
    try:
        _save(plain | snapshots, temporary, header)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _save(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        save_file(dict(tensors), path, metadata=header)
    except SafetensorError as error:  # it tells the system's number only in words
        told = _OS_ERROR.search(str(error))
        if told is None:
            raise
        raise OSError(int(told.group(1)), os.strerror(int(told.group(1)))) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


class Keeper:
    """Writes a run's checkpoints as its context says: when they are due, and nothing where it keeps none."""

    def __init__(self, context: RunContext, identity: Identity) -> None:
        self._policy, self._clock, self._identity = context.checkpoints, context.clock, identity
        self._last = context.clock()

    def is_due(self, epoch: int, *, forced: bool) -> bool:
        """Say whether the state after so many epochs is to be kept."""
        policy = self._policy
        if policy is None or forced:
            return policy is not None
        if policy.every_epochs is not None:
            return epoch > 0 and epoch % policy.every_epochs == 0
        return self._clock() - self._last >= policy.every_seconds

    def keep(self, epoch: int, tensors: Mapping[str, Tensor], history: History) -> None:
        """Write it, in the place of the one before; what cannot be written is the policy's to judge."""
        policy = self._policy
        if policy is None:
            return
        policy.folder.mkdir(parents=True, exist_ok=True)
        try:
            write(policy.path, self._identity, epoch, tensors, history)
        except OSError as error:
            policy.missed(error, epoch)
        else:
            policy.saved(policy.path, epoch)
        self._last = self._clock()


def read(path: Path, identity: Identity) -> State:
    """Give (epochs done, tensors, history) of a checkpoint of `identity`; refuse another's, and any other file."""
    found, state = _readable(path)
    _check_identity(found, identity)
    return state


def read_of_problem(path: Path, problem_sha256: str) -> tuple[Identity, int, dict[str, Tensor]]:
    """Give (whose it is, epochs done, tensors) of a checkpoint of any run of this problem; refuse any other file."""
    found, (epoch, tensors, _) = _readable(path)
    if found.problem_sha256 != problem_sha256:
        raise CheckpointIncompatible(
            f"'{path}' belongs to the problem {found.problem_sha256[:12]}, and this run is on {problem_sha256[:12]}: "
            "go on from a run on the same matrix and targets, or start without it"
        )
    return found, epoch, tensors


def _readable(path: Path) -> tuple[Identity, State]:
    try:
        return _parsed(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointIncompatible(f"'{path}' is not a checkpoint of this engine; start without it") from error


def _parsed(path: Path) -> tuple[Identity, State]:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    found = Identity.model_validate_json(header["identity"])
    held = json.loads(header["history"])
    snapshots = {int(n.removeprefix("snapshot.")): t.numpy() for n, t in tensors.items() if n.startswith("snapshot.")}
    history = History(steps=held["steps"], metrics=held["metrics"], snapshots=snapshots)
    return found, (int(header["epoch"]), tensors, history)


def _check_identity(found: Identity, wanted: Identity) -> None:
    differing = [name for name in Identity.model_fields if getattr(found, name) != getattr(wanted, name)]
    if differing:
        raise CheckpointIncompatible(
            f"the checkpoint belongs to another run: {', '.join(differing)} differ; start without it"
        )
