"""`compact` where `forward` does more than call layers: branches, sizes, weights it reads, optional arguments."""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from l0core.gated import gated_modules
from l0core.layers import compact
from l0core.layers.courses import courses_of
from tests.l0core.layers.gated_nets import CUT, WHOLE, Pair, answers_alike, randn, shapes


def test_a_course_counts_calls_and_names_what_is_read() -> None:
    (course,) = courses_of(Pair())
    assert dict(course.calls) == {"first": 1, "second": 1}
    assert course.read == frozenset()
    assert "second" in courses_of(TiesItself())[0].read
    assert len(courses_of(FlipsByDefault())) == 2


class Branches(Pair):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return -super().forward(x)
        return super().forward(x)


class Asserts(Pair):
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(x, Tensor)
        return super().forward(x)


class OwnErrorOfTheirs(Exception):
    pass


class ChecksItsInput(Pair):
    def forward(self, x: Tensor) -> Tensor:
        if type(x) is not Tensor:
            raise OwnErrorOfTheirs
        return super().forward(x)


class Replaced(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.forward = self.other  # type: ignore[method-assign]  # what some libraries do to add hooks

    def other(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(x).flip(1))
        return scores


@pytest.mark.parametrize("kind", [Branches, Asserts, ChecksItsInput, Replaced])
def test_a_forward_that_cannot_be_traced_warns_and_keeps_its_sizes(kind: type[Pair]) -> None:
    net = kind()
    with pytest.warns(UserWarning, match=f"{kind.__name__}.forward cannot be traced") as caught:
        small = compact(net)
    assert [warning.filename for warning in caught] == [__file__]
    for x in (randn(5, 3), -randn(5, 3)):
        torch.testing.assert_close(small(x), net.eval()(x))
    assert (shapes(small), list(gated_modules(small))) == (WHOLE, [])


class KnowsItsSize(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / self.first.out_features


class ChecksItsSize(Pair):
    def forward(self, x: Tensor) -> Tensor:
        if self.first.out_features != 4:
            raise OwnErrorOfTheirs
        return super().forward(x)


class HoldsAList(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.stack = [self.first, self.norm, self.second]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.stack:
            x = layer(x)
        return x


@pytest.mark.parametrize("kind", [KnowsItsSize, ChecksItsSize, HoldsAList])
def test_a_forward_that_runs_otherwise_with_smaller_layers_warns_and_keeps_them(kind: type[Pair]) -> None:
    net = kind()
    with pytest.warns(UserWarning, match=f"{kind.__name__}.forward runs otherwise with smaller layers") as caught:
        small = compact(net)
    assert [warning.filename for warning in caught] == [__file__]
    torch.testing.assert_close(small(randn(5, 3)), net.eval()(randn(5, 3)))
    assert (shapes(small), list(gated_modules(small))) == (WHOLE, [])


class TiesItself(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(super().forward(x), self.second.weight.t())


class ScalesByItsNorm(Pair):
    def forward(self, x: Tensor) -> Tensor:
        size: Tensor = self.second.weight.norm()
        return super().forward(x) * size


class GivesItsPenalty(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(super().forward(x), self.second.get_l0_penalty())


class CallsTheGates(Pair):
    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.second.gates().sum()
        return super().forward(x) * total


@pytest.mark.parametrize("kind", [TiesItself, ScalesByItsNorm, GivesItsPenalty, CallsTheGates])
def test_a_gated_layer_whose_weights_forward_reads_stays_gated_with_a_warning(kind: type[Pair]) -> None:
    net = kind()
    net.second.gates.log_alpha.data.fill_(0.0)  # half open: W and W z are not the same
    with pytest.warns(UserWarning, match="reads weights or gates of second, which stays gated") as caught:
        small = compact(net)
    assert [warning.filename for warning in caught] == [__file__]
    torch.testing.assert_close(small(randn(5, 3)), net.eval()(randn(5, 3)))
    assert [name for name, _ in gated_modules(small)] == ["second"]
    assert shapes(small)["first"] == (4, 3)


class ReadsPlainWeights(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.plain(torch.relu(self.first(x))), self.plain.weight.t())


class ReadsStatistics(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.norm.running_mean = torch.arange(4.0)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.norm.running_mean.sum()  # type: ignore[union-attr]  # it keeps statistics
        scores: Tensor = self.second(self.norm(self.first(x))) + total
        return scores


@pytest.mark.parametrize("kind", [ReadsPlainWeights, ReadsStatistics])
def test_weights_and_statistics_that_forward_reads_keep_their_size(kind: type[Pair]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = answers_alike(kind(), randn(5, 3))
    assert shapes(small)["first"] == (4, 3)


class FlipsByDefault(Pair):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(hidden.flip(1) if mask is None else torch.relu(hidden))
        return scores


class MasksIfAsked(Pair):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(hidden if mask is None else hidden * mask)
        return scores


class OtherActivationIfAsked(Pair):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.first(x)
        scores: Tensor = self.second(torch.tanh(hidden) if mask is None else torch.sigmoid(hidden))
        return scores


class ScalesTheScores(Pair):
    def forward(self, x: Tensor, scale: Tensor | float = 1.0, *, shift: Tensor | None = None) -> Tensor:
        scores = super().forward(x) * scale
        return scores if shift is None else scores + shift


class SlopeFromOutside(Pair):
    def forward(self, x: Tensor, slope: float = 0.1) -> Tensor:
        scores: Tensor = self.second(functional.leaky_relu(self.first(x), slope))
        return scores


OPTIONAL = (
    (FlipsByDefault, WHOLE, torch.ones(())),
    (MasksIfAsked, WHOLE, torch.full((), 2.0)),
    (OtherActivationIfAsked, WHOLE, torch.ones(())),
    (SlopeFromOutside, WHOLE, 0.7),
    (ScalesTheScores, CUT, 3.0),
)


@pytest.mark.parametrize(("kind", "expected", "value"), OPTIONAL)
def test_an_optional_argument_may_be_given_or_left_out(
    kind: type[Pair], expected: dict[str, tuple[int, int]], value: Tensor | float
) -> None:
    net, x = kind().eval(), randn(5, 3)
    small = compact(net)
    torch.testing.assert_close(small(x), net(x))
    torch.testing.assert_close(small(x, value), net(x, value))
    assert shapes(small) == expected
