"""Which channels are followed from one layer to the next, and what stops the search."""

import pickle
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l0core.gated import gated_modules
from l0core.layers import L0Conv2d, L0Linear, compact
from tests.l0core.layers.gated_nets import (
    CUT,
    WHOLE,
    Pair,
    answers_alike,
    close,
    opened,
    randn,
    shapes,
    two_convolutions,
    two_linears,
)


def test_a_network_of_one_s_own_class_is_followed() -> None:
    assert shapes(answers_alike(Pair(), randn(5, 3))) == CUT


class Residual(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(hidden + torch.relu(hidden))
        return scores


class TwoReaders(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        return torch.cat([self.second(hidden), hidden], dim=1)


class ReadsTheShape(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(hidden) * hidden.shape[1]
        return scores


class CalledTwice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.relu(self.first(self.second(torch.relu(self.first(x))))))
        return scores


class TwoNames(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.again = self.first

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.relu(self.first(x)) + self.again(x))
        return scores


class ShiftsUnits(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(x).roll(1, -1))
        return scores


class ChangesInPlace(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden.sigmoid_()
        scores: Tensor = self.second(hidden)
        return scores


class HandsItOverTwice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(torch.mul(hidden, hidden))
        return scores


class Reshapes(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(x).reshape(-1, 4))
        return scores


class Views(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(x).view(x.size(0), -1))
        return scores


class KeywordOfAFunction(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(functional.softplus(input=self.first(x)))
        return scores


@pytest.mark.parametrize(
    "kind",
    [
        Residual,
        TwoReaders,
        ReadsTheShape,
        CalledTwice,
        TwoNames,
        ShiftsUnits,
        ChangesInPlace,
        HandsItOverTwice,
        Reshapes,
        Views,
        KeywordOfAFunction,
    ],
)
def test_what_is_not_a_chain_of_known_steps_keeps_its_units(kind: type[Pair]) -> None:
    small = answers_alike(kind(), randn(5, 3))
    assert shapes(small) == WHOLE
    assert list(gated_modules(small)) == []


def test_a_layer_under_two_names_is_one_layer_afterwards_too() -> None:
    small = compact(TwoNames())
    assert small.get_submodule("again") is small.get_submodule("first")
    assert isinstance(small.get_submodule("again"), nn.Linear)


class BoundFromOutside(Pair):
    def forward(self, x: Tensor, bound: float) -> Tensor:  # type: ignore[override]  # one more argument
        scores: Tensor = self.second(functional.hardtanh(self.first(x), max_val=bound))
        return scores


def test_a_function_of_another_input_too_keeps_the_units_it_sees() -> None:
    net = BoundFromOutside().eval()
    small = compact(net)
    torch.testing.assert_close(small(randn(5, 3), 0.3), net(randn(5, 3), 0.3))
    assert shapes(small) == WHOLE


class TrainsWithDropoutOnly(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(functional.dropout(self.first(x), 0.5))
        return scores


def test_a_dropout_that_is_always_on_keeps_the_units_it_sees() -> None:
    assert shapes(compact(TrainsWithDropoutOnly())) == WHOLE


class KeywordInput(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(input=self.first(input=x))
        return scores


class InAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        pair = Pair()
        self.layers = nn.ModuleList([pair.first, nn.ReLU(inplace=True), pair.second])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"pair": Pair()})

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.inner["pair"](x)
        return scores


class OneActivationTwice(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.activation(self.second(self.activation(self.first(x))))
        return scores


class KeepsWhatItSaw(Pair):
    def forward(self, x: Tensor) -> Tensor:
        self.last = torch.relu(self.first(x))
        scores: Tensor = self.second(self.last)
        return scores


class AddsAConstant(Pair):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(x)) + torch.ones(3)
        return scores


FOLLOWED = (KeywordInput, InAList, Deep, OneActivationTwice, KeepsWhatItSaw, AddsAConstant)


@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_chain_is_followed_however_it_is_written(kind: type[nn.Module]) -> None:
    small = answers_alike(kind(), randn(5, 3))
    assert sorted(shapes(small).values()) == sorted(CUT.values())


@pytest.mark.parametrize("kind", FOLLOWED)
def test_following_a_chain_leaves_nothing_on_the_network(kind: type[nn.Module]) -> None:
    net = kind()
    small = compact(net)
    assert set(vars(small)) == set(vars(net))
    pickle.loads(pickle.dumps(small))(randn(5, 3))


class Functional(nn.Module):
    """Convolutions, pools, dropout and flattening through functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = L0Conv2d(2, 4, 3, structured=True), L0Conv2d(4, 4, 1, structured=True)
        self.third, self.last = L0Linear(4 * 4, 5, structured=True), L0Linear(5, 2)
        opened(self)
        for layer in (self.first, self.second, self.third):
            close(layer, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.dropout(x, 0.5, self.training)
        x = functional.adaptive_avg_pool2d(functional.gelu(self.second(x)), 2)
        x = functional.dropout(functional.silu(self.third(torch.flatten(x, 1))), p=0.2, training=self.training)
        scores: Tensor = self.last(x.flatten(1).sigmoid())
        return scores


def test_functions_and_methods_are_followed_as_modules_are() -> None:
    small = answers_alike(Functional(), randn(2, 2, 8, 8))
    assert shapes(small) == {"first": (3, 2, 3, 3), "second": (3, 3, 1, 1), "third": (4, 12), "last": (2, 4)}
    first, again = (small.train()(randn(2, 2, 8, 8)) for _ in range(2))
    assert not torch.equal(first, again)  # its dropout is on again


class OwnReLU(nn.ReLU):
    """A subclass that does something else."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        return input.flip(1)


BETWEEN_LINEARS = {
    "softmax": nn.Softmax(dim=1),
    "layer norm": nn.LayerNorm(4),
    "group norm": nn.GroupNorm(2, 4),
    "a slope a unit": nn.PReLU(4),
    "statistics of the batch": nn.BatchNorm1d(4, track_running_stats=False),
    "a subclass": OwnReLU(),
    "transposition": nn.Unflatten(1, (2, 2)),
}


@pytest.mark.parametrize("kind", BETWEEN_LINEARS)
def test_a_step_that_is_not_known_keeps_the_units_before_it(kind: str) -> None:
    between = [BETWEEN_LINEARS[kind]] + ([nn.Flatten()] if kind == "transposition" else [])
    net = two_linears(*between)
    close(net[0], 1)
    small = answers_alike(net, randn(5, 3))
    assert (shapes(small)["0"], shapes(small)[str(len(net) - 1)]) == ((4, 3), (2, 4))


BETWEEN_CONVOLUTIONS = {
    "transposed convolution": nn.ConvTranspose2d(4, 4, 2),
    "two groups": L0Conv2d(4, 4, 1, groups=2),
    "two outputs a channel": nn.Sequential(nn.Conv2d(4, 8, 1, groups=4), nn.MaxPool3d((2, 1, 1))),
    "response norm": nn.LocalResponseNorm(2),
    "softmax over channels": nn.Softmax2d(),
    "shuffle": nn.ChannelShuffle(2),
    "power pool": nn.LPPool2d(2, 2),
}


@pytest.mark.parametrize("kind", BETWEEN_CONVOLUTIONS)
def test_a_step_between_images_that_is_not_known_keeps_the_channels_before_it(kind: str) -> None:
    net = two_convolutions(BETWEEN_CONVOLUTIONS[kind])
    close(net[0], 1)
    small = answers_alike(net, randn(2, 2, 8, 8))
    assert (shapes(small)["0"], shapes(small)["2"]) == ((4, 2, 3, 3), (3, 4, 3, 3))


class PoolsWithIndices(nn.Module):
    def __init__(self, *, functionally: bool) -> None:
        super().__init__()
        self.net = two_convolutions()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.functionally = functionally
        close(self.net[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.net[0](x)
        pooled, _ = functional.max_pool2d(hidden, 2, return_indices=True) if self.functionally else self.pool(hidden)
        scores: Tensor = self.net[1](pooled)
        return scores


@pytest.mark.parametrize("functionally", [True, False])
def test_a_pool_that_gives_indices_too_keeps_the_channels_before_it(functionally: bool) -> None:
    small = answers_alike(PoolsWithIndices(functionally=functionally), randn(2, 2, 8, 8))
    assert shapes(small) == {"net.0": (4, 2, 3, 3), "net.1": (3, 4, 3, 3)}


@pytest.mark.parametrize("groups", [2, 1])
def test_a_convolution_of_several_groups_keeps_its_channels(groups: int) -> None:
    net = nn.Sequential(
        L0Conv2d(2, 4, 3, structured=True),
        nn.ReLU(),
        L0Conv2d(4, 4, 1, structured=True, groups=groups),
        nn.Conv2d(4, 3, 1),
    )
    opened(net)
    close(net[0], 1)
    close(net[2], 0)
    kept = 4 if groups == 2 else 3
    assert shapes(answers_alike(net, randn(2, 2, 8, 8))) == {
        "0": (kept, 2, 3, 3),
        "2": (kept, kept // groups, 1, 1),
        "3": (3, kept, 1, 1),
    }


@pytest.mark.parametrize(("flatten", "side"), [(nn.Flatten(2), 2), (nn.Flatten(1, 2), 4), (nn.Flatten(-1), 4)])
def test_only_flattening_from_the_first_axis_to_the_last_is_followed(flatten: nn.Module, side: int) -> None:
    net = nn.Sequential(L0Conv2d(1, 4, 1, structured=True), flatten, L0Linear(4, 3))
    opened(net)
    close(net[0], 1)
    assert shapes(answers_alike(net, randn(2, 1, side, side))) == {"0": (4, 1, 1, 1), "2": (3, 4)}


def test_a_linear_layer_on_the_columns_of_an_image_keeps_its_channels() -> None:
    net = nn.Sequential(L0Conv2d(2, 4, 3, structured=True), nn.ReLU(), L0Linear(4, 3))
    opened(net)
    close(net[0], 1)
    assert shapes(answers_alike(net, randn(2, 2, 6, 6))) == {"0": (4, 2, 3, 3), "2": (3, 4)}


def test_features_on_the_last_axis_of_sequences_are_followed() -> None:
    net = two_linears(nn.ReLU(), nn.Dropout1d())
    close(net[0], 1)
    assert shapes(answers_alike(net, randn(2, 5, 3))) == {"0": (3, 3), "3": (2, 3)}


def test_an_input_that_is_no_batch_does_not_fit_and_is_never_answered_wrongly() -> None:
    """Where an axis is as long as another one, torch.fx cannot tell which is meant."""
    sequences = two_linears(nn.BatchNorm1d(4))
    image = nn.Sequential(L0Conv2d(2, 4, 3, structured=True), nn.Flatten(), nn.Linear(4, 2))
    opened(image)
    for net, x in ((sequences, randn(2, 4, 3)), (image, randn(2, 4, 4))):
        close(net[0], 1)
        net.eval()(x)
        with pytest.raises(RuntimeError):
            compact(net)(x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_kinds_of_padding_are_kept(mode: Literal["reflect", "replicate", "circular"]) -> None:
    net = two_convolutions(nn.Sigmoid(), nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode), nn.ReLU())
    close(net[0], 1)
    small = answers_alike(net, randn(2, 2, 8, 8))
    layer = small.get_submodule("2")
    assert isinstance(layer, nn.Conv2d)
    assert layer.padding_mode == mode


def test_padding_by_name_counts_as_padding() -> None:
    for padding, kept in (("same", 4), ("valid", 3)):
        net = two_convolutions(nn.Sigmoid(), nn.Conv2d(4, 4, 3, padding=padding))
        close(net[0], 1)
        assert shapes(answers_alike(net, randn(2, 2, 8, 8)))["0"] == (kept, 2, 3, 3)
