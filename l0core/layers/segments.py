"""Where in a traced network a layer's output channels reach one other layer and nothing else.

A segment is `producer -> steps -> consumer`: two layers, each called once, and between them operations that treat
every channel by itself (see `steps`), each with one reader.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from l0core.layers.courses import Course
from l0core.layers.solid import SolidLayer
from l0core.layers.steps import Flatten, Network, Norm, Step, step_of


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Two layers and the per-channel steps between them; `path` says what is called, with which settings."""

    producer: SolidLayer
    steps: tuple[Step, ...]
    consumer: SolidLayer
    path: tuple[str, ...]

    @property
    def block(self) -> int:
        """How many inputs of the consumer stand for one channel: more than one where an image is flattened."""
        return self.consumer.weight.shape[1] // self.producer.weight.shape[0]

    def fits(self) -> bool:
        """Whether the consumer's inputs are the producer's channels, in order."""
        flattened = any(isinstance(step, Flatten) for step in self.steps)
        outputs, inputs = self.producer.weight.shape[0], self.consumer.weight.shape[1]
        if any(isinstance(step, Norm) and step.module.num_features != outputs for step in self.steps):
            return False
        if self.producer.convolutional and not self.consumer.convolutional:
            return flattened and inputs % outputs == 0
        return outputs == inputs and self.producer.convolutional == self.consumer.convolutional

    def constants(self) -> tuple[Tensor, Tensor]:
        """Give (known, value): which channels are constant where the consumer reads them, and at what."""
        known = ~self.producer.weight.flatten(1).any(1)
        value = self.producer.offset()
        for step in self.steps:
            known, value = step.carry(known, value)
        return known, value

    def may_move(self, value: Tensor) -> Tensor:
        """Say which channels, constant at `value`, the consumer can do without: all, or at a padded border zeros."""
        return (value == 0) | (not self.consumer.sees_padding)

    def move_into_bias(self, value: Tensor) -> None:
        """Add to the consumer's bias what channels constant at `value` give it."""
        by_channel = self._by_channel().sum(2)
        self.consumer.add_to_bias(by_channel @ value)

    def used(self) -> Tensor:
        """Say which channels the consumer gives any weight; one of them at least."""
        used = self._by_channel().any(2).any(0)
        if not bool(used.any()):
            used[0] = True
        return used

    def keep_only(self, keep: Tensor) -> None:
        """Drop the channels that `keep` leaves out, in both layers and between them."""
        self.consumer.keep_inputs(keep.repeat_interleave(self.block))
        self.producer.keep_outputs(keep)
        for step in self.steps:
            step.keep_only(keep)

    def _by_channel(self) -> Tensor:
        """Give the consumer's weights as (outputs, channels, weights of a channel)."""
        outputs, channels = self.consumer.weight.shape[0], self.producer.weight.shape[0]
        return self.consumer.weight.reshape(outputs, channels, -1)


def segments_of(model: nn.Module, layers: dict[str, SolidLayer], courses: Sequence[Course]) -> list[Segment]:
    """Give the segments of `model` that all `courses` have, from its input to its output."""
    network = Network(model=model, layers=layers, cuttable=_cuttable(model, courses))
    first, *others = (_segments_in(course.graph, network) for course in courses)
    elsewhere = [{segment.path for segment in segments} for segments in others]
    return [segment for segment in first if all(segment.path in paths for paths in elsewhere)]


def _segments_in(graph: fx.Graph, network: Network) -> list[Segment]:
    found = [_from(node, network) for node in graph.nodes if _whole_layer(node, network)]
    return [segment for segment in found if segment is not None and segment.fits()]


def _from(node: fx.Node, network: Network) -> Segment | None:
    """Follow the channels of the layer called at `node` to the next layer."""
    producer = network.layers[str(node.target)]
    steps: list[Step] = []
    path = [str(node.target)]
    while len(node.users) == 1:
        (node,) = node.users
        path.append(f"{node.target} {node.args[1:]} {node.kwargs}")
        if _whole_layer(node, network):
            consumer = network.layers[str(node.target)]
            return Segment(producer=producer, steps=tuple(steps), consumer=consumer, path=tuple(path))
        step = step_of(node, network, spatial=producer.convolutional)
        if step is None:
            return None
        steps.append(step)
    return None


def _whole_layer(node: fx.Node, network: Network) -> bool:
    """Whether a layer is called here that may be cut, and whose outputs see all its inputs."""
    layer = network.layer_at(node)
    return layer is not None and layer.one_group


def _cuttable(model: nn.Module, courses: Sequence[Course]) -> frozenset[str]:
    """Give the modules that may change: called once, and nobody else reads or holds their parameters."""
    owners = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    return frozenset(
        name
        for name, module in model.named_modules()
        if all(course.calls[name] == 1 and name not in course.read for course in courses)
        and all(owners[id(parameter)] == 1 for parameter in module.parameters(recurse=False))
    )
