"""A network with its optimiser: the one step that the twin, the gated and the pruned network all take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from l0core.errors import CheckpointIncompatible

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_GATES = "log_alpha"


@dataclass(frozen=True, kw_only=True)
class Learner:
    """`network` under Adam; weights that `masks` (by `layers.{i}...`) leave out stay 0."""

    network: nn.Sequential
    adam: torch.optim.Adam
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Sequential, *, masks: Mapping[str, Tensor] | None = None) -> "Learner":
        """Give a learner that has not taken a step; gates are the second group of its optimiser."""
        named = list(network.named_parameters())
        weights = [parameter for name, parameter in named if not name.endswith(_GATES)]
        gates = [parameter for name, parameter in named if name.endswith(_GATES)]
        groups = [{"params": weights}, {"params": gates}] if gates else [{"params": weights}]
        learner = cls(network=network, adam=torch.optim.Adam(groups, fused=True), masks=masks or {})
        learner._mask()
        return learner

    def set_rates(self, weights: float, gates: float) -> None:
        """Set the steps of weights and gates."""
        for group, rate in zip(self.adam.param_groups, (weights, gates), strict=False):
            group["lr"] = rate

    def step(self, loss: Tensor) -> None:
        """Go one step down."""
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.adam.step()
        self._mask()

    def is_sound(self) -> bool:
        """Whether all its numbers are finite."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors("").values())

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Give its state by names that begin with `name`."""
        state = {f"{name}.{key}": value for key, value in self.network.state_dict().items()}
        state |= {f"{name}.mask.{key}": value for key, value in self.masks.items()}
        for i, moments in self.adam.state_dict()["state"].items():
            state |= {f"{name}.adam.{i}.{key}": moments[key] for key in _MOMENTS}
        return state

    def take_up(self, name: str, held: Mapping[str, Tensor]) -> None:
        """Stand where a learner stood whose `tensors(name)` are `held`; CheckpointIncompatible where they are not."""
        own = self.network.state_dict()
        if not all(_fits(held.get(f"{name}.{key}"), value) for key, value in own.items()):
            raise CheckpointIncompatible(
                f"the checkpoint holds no {name} network with these gates: give the `structured` it was made with, or "
                "start without it"
            )
        self.network.load_state_dict({key: held[f"{name}.{key}"] for key in own})
        groups = self.adam.state_dict()["param_groups"]
        moments = {i: _moments(f"{name}.adam.{i}", held) for group in groups for i in group["params"]}
        state = {i: found for i, found in moments.items() if found}
        self.adam.load_state_dict({"state": state, "param_groups": groups})

    def _mask(self) -> None:
        with torch.no_grad():
            for key, mask in self.masks.items():
                self.network.get_parameter(key.removeprefix("layers.")).mul_(mask)


def masks_in(name: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the masks of the learner `name` in a checkpoint; none where it has none."""
    prefix = f"{name}.mask."
    return {key.removeprefix(prefix): value for key, value in held.items() if key.startswith(prefix)}


def _moments(prefix: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: held[f"{prefix}.{key}"].clone() for key in _MOMENTS if f"{prefix}.{key}" in held}


def _fits(found: Tensor | None, wanted: Tensor) -> bool:
    return found is not None and found.shape == wanted.shape
