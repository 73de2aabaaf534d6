"""How the kernels are compiled: at the first call, and kept on disk where there is a folder to write to."""

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

Function = Callable[..., Any]

_ROUNDING = frozenset({"contract", "nsz"})  # multiply-add in one, no signed zeros; no reordering: bits stay put
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()
_UNUSABLE = (OSError, EOFError, pickle.UnpicklingError)  # a full disk, a folder gone read-only, a torn file


def instruction(code: Function) -> Function:
    """Make a function of `llvmlite`'s builder callable from compiled code."""
    made: Function = intrinsic(code)
    return made


def inlined(function: Function) -> Function:
    """Compile a function of single numbers into the loops that call it."""
    made: Function = njit(inline="always", fastmath=set(_ROUNDING), error_model="numpy")(function)
    return made


def compiled(function: Function) -> Function:
    """Compile a function of arrays at its first call. Division by zero gives infinity, as in numpy."""
    return _kept(njit(fastmath=set(_ROUNDING), error_model="numpy", nogil=True)(function))


def compiled_fast(function: Function) -> Function:
    """The same for sums whose order may change: always to the same one, so that the bits stay."""
    return _kept(njit(fastmath={*_ROUNDING, "reassoc"}, error_model="numpy", nogil=True)(function))


def compiled_parallel(function: Function) -> Function:
    """The same, with its `prange` loop over threads."""
    return _kept(njit(fastmath=set(_ROUNDING), error_model="numpy", parallel=True)(function))


class _Kept(FunctionCache):
    """Numba's cache, which is never the reason that a call fails, and is stale once any file of the kernels changes.

    Numba itself looks at the file of the function alone, not at those of the functions it calls.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Give what is kept for these types, if anything."""
        with suppress(*_UNUSABLE):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if possible."""
        with suppress(*_UNUSABLE):
            super().save_overload(sig, data)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _SOURCES)


def _kept(made: Any) -> Function:
    with suppress(RuntimeError):  # no folder to write to: compiled again in every process
        made._cache = _Kept(made.py_func)
    function: Function = made
    return function
