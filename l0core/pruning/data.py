"""The rows as a training sees them: some held out, in float32 on the device, a regression's outcome standardised."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core.arrays import FloatArray
from l0core.pruning.problem import PruningProblem
from l0core.pruning.seeds import Purpose, seed_for


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where the outcome's zero and one are: outcome = `shift` + `unit` * what the network learns."""

    shift: float = 0.0
    unit: float = 1.0

    @classmethod
    def of(cls, outcome: FloatArray) -> Self:
        """Give mean and standard deviation; a constant outcome has the unit 1."""
        spread = float(outcome.std())
        return cls(shift=float(outcome.mean()), unit=spread if spread > 0 else 1.0)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows (n, *shape of a row) in float32 with their outcomes: class ids, or (n, 1) standardised numbers."""

    rows: Tensor
    outcome: Tensor

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is learned from and what judges; `holdout` may have no rows."""

    training: Part
    holdout: Part
    scale: Scale


def split(problem: PruningProblem, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give (training, held-out) row numbers in order; of every class about the same share is held out."""
    generator = np.random.default_rng(seed_for(Purpose.SPLIT, seed))
    shuffled = generator.permutation(problem.n_rows)
    if problem.task == "classification":
        shuffled = _classes_in_turn(shuffled, problem.outcome[shuffled])
    held = shuffled[: problem.n_holdout]
    return np.sort(shuffled[problem.n_holdout :]), np.sort(held)


def prepare(problem: PruningProblem, seed: int, device: str) -> Data:
    """Split the rows and bring them to the device."""
    training, held = split(problem, seed)
    scale = Scale() if problem.task == "classification" else Scale.of(problem.outcome[training])
    return Data(
        training=_part(problem, training, scale, device), holdout=_part(problem, held, scale, device), scale=scale
    )


def _classes_in_turn(shuffled: NDArray[np.intp], classes: FloatArray) -> NDArray[np.intp]:
    """Order rows so that every beginning of the list has each class in its share."""
    by_class = np.argsort(classes, kind="stable")
    _, starts, counts = np.unique(classes[by_class], return_index=True, return_counts=True)
    within = np.arange(len(classes)) - np.repeat(starts, counts)
    place = (within + 0.5) / np.repeat(counts, counts)
    return shuffled[by_class][np.argsort(place, kind="stable")]


def _part(problem: PruningProblem, chosen: NDArray[np.intp], scale: Scale, device: str) -> Part:
    shape = problem.plan.places[0].inputs
    rows = torch.as_tensor(problem.features[chosen], dtype=torch.float32, device=device).reshape(-1, *shape)
    if problem.task == "classification":
        return Part(rows=rows, outcome=torch.as_tensor(problem.outcome[chosen], dtype=torch.int64, device=device))
    standardised = (problem.outcome[chosen] - scale.shift) / scale.unit
    return Part(rows=rows, outcome=torch.as_tensor(standardised, dtype=torch.float32, device=device)[:, None])
