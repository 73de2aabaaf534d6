"""`SampleGate` and `FeatureGate`: gates that choose exactly so many rows or columns."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0core.errors import InvalidHyperparameter, InvalidInput, ShapeMismatch
from l0core.gates.l0_gate import L0Gate
from l0core.gates.ranking import best
from l0core.scalars import whole

Data = TypeVar("Data", Tensor, NDArray[np.generic])
Weights = Tensor | NDArray[np.generic] | Sequence[float]


class SampleGate(L0Gate):
    """One gate a sample (row); chooses exactly `target_samples` of `n_samples`.

    In `train()` a choice is a random draw that favours likely gates, in `eval()` the `target_samples` likeliest ones.
    The gates start at sigmoid(log_alpha) = `target_samples` / `n_samples`.

    Raises InvalidHyperparameter unless 1 <= `target_samples` <= `n_samples`.

    >>> gate = SampleGate(n_samples=1000, target_samples=100)
    >>> selected, indices = gate.select_samples(torch.arange(1000.0).view(1000, 1))
    >>> selected.shape, bool((selected.flatten() == indices).all())
    (torch.Size([100, 1]), True)
    """

    def __init__(
        self,
        n_samples: int,
        target_samples: int,
        temperature: float = 0.25,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        target = _count(target_samples, "target_samples", n_samples, "n_samples")
        super().__init__(n_samples, temperature, starting_mean(target, n_samples), generator=generator)
        self.n_samples, self.target_samples = int(n_samples), target

    def select_samples(self, data: Data) -> tuple[Data, Tensor]:
        """Give (selected, indices): `target_samples` rows of `data` (`n_samples` rows), indices ascending int64.

        Raises InvalidInput where `data` is no tensor and no array, ShapeMismatch where it has another number of rows.
        """
        indices, _ = best(self.gates, self.target_samples)
        return taken(data, indices, axis=0, length=self.n_samples), indices

    def select_weighted_samples(self, data: Data, weights: Weights) -> tuple[Data, Tensor, Tensor]:
        """Give (selected, their weights, indices) from `weights`, one a sample.

        In `train()` each weight is multiplied by its drawn gate, differentiable in the gates' locations; where fewer
        gates than `target_samples` were drawn open, the rest of the chosen have weight 0. In `eval()` the weights of
        the chosen come back as they are, in their own type.

        Raises InvalidInput for weights that are no numbers, ShapeMismatch for lengths other than `n_samples`.
        """
        given = self._one_a_sample(weights)
        indices, gates = best(self.gates, self.target_samples)
        return taken(data, indices, axis=0, length=self.n_samples), given[indices] * gates, indices

    def _one_a_sample(self, weights: Weights) -> Tensor:
        try:
            given = torch.as_tensor(weights, device=self.gates.log_alpha.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInput(
                f"weights is {weights!r}; it must be a row of numbers, one a sample", pointer="/weights"
            ) from error
        if given.shape != (self.n_samples,):
            raise ShapeMismatch(
                f"weights has shape {tuple(given.shape)}; it must be {(self.n_samples,)}, one a sample",
                pointer="/weights",
            )
        return given


class FeatureGate(L0Gate):
    """One gate a feature (column); chooses exactly `max_features` of `n_features`.

    In `train()` a choice is a random draw that favours likely gates, in `eval()` the `max_features` likeliest ones.
    The gates start at sigmoid(log_alpha) = `max_features` / `n_features`.

    Raises InvalidHyperparameter unless 1 <= `max_features` <= `n_features`.

    >>> gate = FeatureGate(n_features=20, max_features=3)
    >>> selected, indices = gate.select_features(torch.randn(5, 20, generator=torch.Generator().manual_seed(1)))
    >>> selected.shape, len(indices), gate.get_feature_importance().shape
    (torch.Size([5, 3]), 3, torch.Size([20]))
    """

    def __init__(
        self,
        n_features: int,
        max_features: int,
        temperature: float = 0.1,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        most = _count(max_features, "max_features", n_features, "n_features")
        super().__init__(n_features, temperature, starting_mean(most, n_features), generator=generator)
        self.n_features, self.max_features = int(n_features), most

    def select_features(self, data: Data) -> tuple[Data, Tensor]:
        """Give (selected, indices): `max_features` columns of `data` (rows x `n_features`), indices ascending int64.

        Raises InvalidInput where `data` is no tensor and no array, ShapeMismatch where it has other columns.
        """
        indices, _ = best(self.gates, self.max_features)
        return taken(data, indices, axis=1, length=self.n_features), indices

    def select_features_with_names(self, data: Data, feature_names: Sequence[str]) -> tuple[Data, list[str]]:
        """Give (selected, their names); raises ShapeMismatch unless there is one name a feature."""
        if len(feature_names) != self.n_features:
            raise ShapeMismatch(
                f"feature_names has {len(feature_names)} names; there are {self.n_features} features",
                pointer="/feature_names",
            )
        selected, indices = self.select_features(data)
        return selected, [feature_names[i] for i in indices.tolist()]

    def get_feature_importance(self) -> Tensor:
        """Give P(z > 0) of each feature, of shape (`n_features`,), detached."""
        return self.gates.get_active_prob().detach()


def taken(data: Data, indices: Tensor, *, axis: int, length: int) -> Data:
    """Give the entries of `data` at `indices` of `axis`.

    Raises InvalidInput for what is no tensor and no array, ShapeMismatch unless that axis is `length` long.
    """
    if not isinstance(data, Tensor | np.ndarray):
        raise InvalidInput(
            f"data is a {type(data).__name__}; it must be a torch tensor or a numpy array", pointer="/data"
        )
    if data.ndim <= axis or data.shape[axis] != length:
        raise ShapeMismatch(
            f"data has shape {tuple(data.shape)}; its axis {axis} must be {length} long, one entry a gate",
            pointer="/data",
        )
    if isinstance(data, Tensor):
        return data.index_select(axis, indices.to(data.device))
    return np.take(data, indices.cpu().numpy(), axis=axis)


def starting_mean(count: int, n: int) -> float:
    """Give `count` / `n`, kept half a gate away from 1, where no location is finite."""
    return min(count, n - 0.5) / n


def _count(count: int, name: str, n: int, n_name: str) -> int:
    count, n = whole(count, name=name), whole(n, name=n_name)
    if count > n:
        raise InvalidHyperparameter(f"{name} is {count}; it must be at most {n_name}, which is {n}", pointer=f"/{name}")
    return count
