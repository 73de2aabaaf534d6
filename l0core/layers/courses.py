"""How a network runs, as torch.fx sees it: what it calls, in which order, and which tensors `forward` reads itself."""

import copy
import inspect
from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from l0core.gated import Gated


@dataclass(frozen=True, kw_only=True)
class Course:
    """One way through `forward`: its graph, and the modules whose weights it reads rather than only calls them."""

    graph: fx.Graph
    read: frozenset[str]

    @property
    def calls(self) -> Counter[str]:
        """How often each module is called."""
        return Counter(str(node.target) for node in self.graph.nodes if node.op == "call_module")


class _Tracer(fx.Tracer):
    """Looks into everything but torch's own modules and gated ones, and notes the tensors it sees read.

    `by_default`: arguments that have a default are left out, else they are given.
    """

    def __init__(self, *, by_default: bool) -> None:
        super().__init__()
        self._by_default = by_default
        self.tensors_read: set[int] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Gated) or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if isinstance(attr_val, Tensor):
            self.tensors_read.add(id(attr_val))
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(self, kind: str, target: Any, args: tuple[Any, ...], *rest: Any, **named: Any) -> Any:
        if kind == "placeholder" and args and self._by_default:
            return args[0]
        return super().create_proxy(kind, target, args, *rest, **named)


def courses_of(model: nn.Module) -> tuple[Course, ...]:
    """Give the course with every argument given and, where some have a default, the one without these.

    Raises TypeError, or whatever `forward` raises, where torch.fx cannot follow it.
    """
    if "forward" in vars(model):
        raise TypeError("forward was replaced on the instance; torch.fx follows the one of its class")
    arguments = inspect.signature(model.forward).parameters.values()
    optional = any(argument.default is not argument.empty for argument in arguments)
    return tuple(_traced(model, by_default=by_default) for by_default in ((False, True) if optional else (False,)))


def _traced(model: nn.Module, *, by_default: bool) -> Course:
    """Trace a copy: what `forward` leaves on the module while it is traced is no tensor."""
    traced = copy.deepcopy(model)
    tracer = _Tracer(by_default=by_default)
    graph = tracer.trace(traced)
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    read = {name for name, module in traced.named_modules() if _reads(tracer, module) or _calls_inside(called, name)}
    return Course(graph=graph, read=frozenset(read))


def _reads(tracer: _Tracer, module: nn.Module) -> bool:
    return any(id(tensor) in tracer.tensors_read for tensor in (*module.parameters(), *module.buffers()))


def _calls_inside(called: list[str], name: str) -> bool:
    return any(target.startswith(f"{name}.") for target in called)
