"""Names of a package that are loaded when they are first used (PEP 562), so that importing it costs nothing."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module

Lookup = Callable[[str], object]
Listing = Callable[[], list[str]]


def lazily(package: str, homes: Mapping[str, str], *, modules: Collection[str] = ()) -> tuple[Lookup, Listing]:
    """Give the `__getattr__` and `__dir__` of `package`, whose names stand in the modules `homes` says.

    `modules` are those of its own modules that are offered as names too.

    >>> lookup, listing = lazily("numbers", {"pi": "math"})
    >>> lookup("pi"), listing()
    (3.141592653589793, ['pi'])
    """

    def lookup(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return lookup, lambda: sorted({*homes, *modules})
