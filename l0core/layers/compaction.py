"""`compact`: a plain network without the closed units of a gated one, and with the same outputs.

Two facts let an output channel of a layer go, where only the next layer sees it (see `segments`):

- it is constant: nothing that is open leads into it. What it adds to the next layer joins that layer's bias;
- it is unused: the next layer gives it no weight.

Constants are followed forward through the network, unused channels backward: one pass each finds them all, since
taking a constant channel away can make nothing new constant behind it, nor an unused one in front of it.
"""

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from l0core.layers.base import GatedLayer
from l0core.layers.courses import Course, courses_of
from l0core.layers.segments import Segment, segments_of
from l0core.layers.solid import SolidLayer, solid_layers


def compact(model: nn.Module) -> nn.Module:
    """Give a smaller copy of `model` in `eval()` mode whose gated layers are torch's own, closed units removed.

    Its outputs equal those of `model.eval()` to rounding in the weights' type; `model` stays as it is. Linear and
    convolutional layers (one group, or depthwise) shrink, and batch normalisation between them; units are followed
    through activations, dropout, pooling and flattening. Any other operation keeps the units it sees, and so do
    layers that are used twice, have hooks, share their weights, or whose weights `forward` reads.

    Inputs come in batches, features of a linear layer before `BatchNorm1d` as (batch, features): others do not fit
    the smaller network. A model whose `forward` torch.fx cannot trace keeps its sizes, with a warning; so does one
    that computes with the sizes of its layers, or holds them out of sight in a list. A gated layer whose weights
    `forward` reads stays gated, with a warning. Gates that stand alone (`HardConcrete`, `L0Gate`) stay gates.

    >>> from l0core import L0Linear, prune_model
    >>> net = nn.Sequential(L0Linear(4, 3, structured=True), nn.ReLU(), L0Linear(3, 2))
    >>> _ = net[0].gates.log_alpha.data.copy_(torch.tensor([3.0, -3.0, 3.0]))
    >>> compact(net)
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    """
    original = copy.deepcopy(model).eval()
    layers = solid_layers(original)
    if isinstance(original, GatedLayer):
        return layers[""].plain()
    courses = _courses(original) if layers else ()
    smaller = _plain(original, courses, cut=True)
    if courses and not _runs_alike(smaller, courses):
        _warn(model, "runs otherwise with smaller layers: they become plain and keep their sizes")
        return _plain(original, courses, cut=False)
    return smaller


def _courses(model: nn.Module) -> tuple[Course, ...]:
    try:
        courses = courses_of(model)
    except Exception as error:  # noqa: BLE001  # a forward that is handed stand-ins for tensors may raise anything
        _warn(
            model,
            f"cannot be traced ({type(error).__name__}: {error}): its layers become plain and keep their sizes",
            stacklevel=4,
        )
        return ()
    for name in sorted(_gated_and_read(model, courses)):
        _warn(model, f"reads weights or gates of {name}, which stays gated", stacklevel=4)
    return courses


def _plain(model: nn.Module, courses: Sequence[Course], *, cut: bool) -> nn.Module:
    """Give a copy of `model` with torch's own layers, smaller ones if `cut`."""
    smaller = copy.deepcopy(model)
    staying = _gated_and_read(smaller, courses)
    layers = {name: layer for name, layer in solid_layers(smaller).items() if name not in staying}
    if cut and courses:
        _cut(segments_of(smaller, layers, courses))
    _replace(smaller, layers)
    return smaller


def _gated_and_read(model: nn.Module, courses: Sequence[Course]) -> frozenset[str]:
    read = frozenset[str]().union(*(course.read for course in courses))
    return frozenset(name for name in read if isinstance(model.get_submodule(name), GatedLayer))


def _cut(chain: list[Segment]) -> None:
    for segment in chain:
        segment.keep_only(~_constant(segment))
    for segment in reversed(chain):
        segment.keep_only(segment.used())


def _constant(segment: Segment) -> Tensor:
    """Say which channels are constant, having moved what they give into the next layer's bias."""
    known, value = segment.constants()
    constant = known & segment.may_move(value)
    if bool(constant.all()):
        constant[0] = False  # a layer keeps one channel at least
    segment.move_into_bias(torch.where(constant, value, torch.zeros_like(value)))
    return constant


def _replace(model: nn.Module, layers: dict[str, SolidLayer]) -> None:
    plain = {id(layer.module): layer.plain() for layer in layers.values()}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if plain.get(id(module), module) is not module:
            model.set_submodule(name, plain[id(module)])


def _runs_alike(model: nn.Module, courses: Sequence[Course]) -> bool:
    """Whether `model` does what `courses` say, number by number: a size that is part of a formula shows here."""
    try:
        now = courses_of(model)
    except Exception:  # noqa: BLE001  # as in `_courses`: a forward that checks its sizes, say
        return False
    return [str(course.graph) for course in now] == [str(course.graph) for course in courses]


def _warn(model: nn.Module, what: str, *, stacklevel: int = 3) -> None:
    warnings.warn(f"{type(model).__name__}.forward {what}", stacklevel=stacklevel)
