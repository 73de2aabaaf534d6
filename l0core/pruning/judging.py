"""How well a network does on some rows: its loss, and the share of rows it reads right or of variance it explains."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0core.pruning.data import Part
from l0core.pruning.problem import Task

_ROWS_AT_ONCE = 1_024
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Mean loss of a row, and accuracy (a classification) or R^2 (a regression); NaN where there are no rows."""

    loss: float
    right: float


def loss_of(task: Task) -> Loss:
    """Give the mean loss of a batch: cross-entropy in nats, or squared error in units of the outcome's variance."""
    return functional.cross_entropy if task == "classification" else functional.mse_loss


def judged(network: nn.Module, part: Part, task: Task) -> Score:
    """Give the score of `network` at test time; its mode is put back."""
    if not len(part):
        return Score(loss=math.nan, right=math.nan)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        parts = [network(rows).double() for rows in torch.split(part.rows, _ROWS_AT_ONCE)]
    network.train(was_training)
    return _score(torch.cat(parts), part.outcome, task)


def _score(outputs: Tensor, outcome: Tensor, task: Task) -> Score:
    if task == "classification":
        right = (outputs.argmax(1) == outcome).double().mean()
        return Score(loss=float(functional.cross_entropy(outputs, outcome)), right=float(right))
    loss = functional.mse_loss(outputs, outcome.double())
    variance = outcome.double().var(correction=0)
    return Score(loss=float(loss), right=float(1 - loss / variance) if variance > 0 else math.nan)
