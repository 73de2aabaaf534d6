"""The price of a parameter during a training: one that stays, or one that follows the expected count to a goal."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l0core.errors import InvalidHyperparameter
from l0core.pruning.choice import fewest
from l0core.pruning.network import Plan
from l0core.pruning.options import DEFAULT_SPARSITY, PruningHyperparameters

_GAIN = 0.02  # change of the level's logarithm a step for each unit of log(count / goal)
_FORCE = 5.0  # the price is the level times 1 + this much of log(count / goal): below 0 it brings parameters back
_RAMP = 0.6  # share of the epochs over which the goal falls from all parameters to the target
_SWING = 1e6  # the level stays within this factor of where it started
_MOST_AWAY = 1.0  # of log(count / goal) that the price answers to
_START = 1.0  # Akaike's price


@dataclass(frozen=True, kw_only=True)
class Price:
    """The price of a parameter (in the summed loss) begins at `start`; with a `goal` it follows the expected count.

    A level that learns what the goal costs, times a factor that answers to the count at once: by itself the level would
    swing, since gates take many steps from open to closed.
    """

    start: float
    parameters: int
    goal: int | None = None

    def update(self, level: Tensor, expected: Tensor, place: float) -> tuple[Tensor, Tensor]:
        """Give (level, price) of the next step; `place` is the share of the epochs that is over."""
        if self.goal is None:
            return level, level.clone()
        done = min(1.0, place / _RAMP)
        wanted = self.parameters * (self.goal / self.parameters) ** done
        away = torch.log(expected.detach().double().clamp(min=1e-3) / wanted).clamp(-_MOST_AWAY, _MOST_AWAY)
        moved = torch.clamp(level * torch.exp(_GAIN * away), min=self.start / _SWING, max=self.start * _SWING)
        return moved, moved * (1 + _FORCE * away)


def price_of(plan: Plan, options: PruningHyperparameters) -> Price:
    """Give the price that the hyperparameters ask for.

    Raises InvalidHyperparameter for a number of parameters that this network cannot have.
    """
    if options.lambda_l0 is not None:
        return Price(start=options.lambda_l0, parameters=plan.parameters)
    return Price(start=_START, parameters=plan.parameters, goal=goal_of(plan, options))


def goal_of(plan: Plan, options: PruningHyperparameters) -> int:
    """Give the number of parameters that a target asks for."""
    least, most = fewest(plan.weighted), plan.parameters
    if options.target_parameters is not None:
        goal, name, given = options.target_parameters, "target_parameters", f"{options.target_parameters}"
    else:
        sparsity = DEFAULT_SPARSITY if options.target_sparsity is None else options.target_sparsity
        goal, name, given = round((1 - sparsity) * most), "target_sparsity", f"{sparsity:g}"
    if not least <= goal <= most:
        raise InvalidHyperparameter(
            f"{name} {given} asks for {goal} of the network's {most} parameters; {least} at least make one path "
            f"through it, {most} are all",
            pointer=f"/hyperparameters/{name}",
        )
    return goal
