"""What an error costs: a function of e = (estimate - value) / scale, once for selection, refit and evaluation.

`Squared` is e^2 and `CappedAbsolute` min(|e|, cap), the loss PolicyEngine ships with (capped weighted MAPE). Both are
concave functions phi of e^2, which is what fitting them by reweighted squares rests on: by Jensen's inequality the
expected loss of an uncertain e is phi(E e^2) at most, and phi lies below each of its tangents.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from l0core.arrays import FloatArray

_LEAST_ERROR = 1e-6  # below it an absolute error is rounded off to a square: the slope of a root has no end at 0
_PAST_THE_CAP = 1e-3  # of the slope at the cap: a target that is given up must feel which way is back


class Loss(Protocol):
    """One loss of a target, before the target's weight."""

    def value(self, error: FloatArray) -> FloatArray:
        """Give the loss of each error."""
        ...

    def of_square(self, square: FloatArray) -> FloatArray:
        """Give phi(x), the loss as a function of x = e^2 or of its expectation."""
        ...

    def importance(self, square: FloatArray) -> FloatArray:
        """Give phi'(x): the weight of the square that touches the loss from above at x = e^2."""
        ...


@dataclass(frozen=True, kw_only=True)
class Squared:
    """e^2."""

    def value(self, error: FloatArray) -> FloatArray:
        """Give the squares."""
        return error**2

    def of_square(self, square: FloatArray) -> FloatArray:
        """Give x."""
        return square

    def importance(self, square: FloatArray) -> FloatArray:
        """Give ones."""
        return np.ones_like(square)


@dataclass(frozen=True, kw_only=True)
class CappedAbsolute:
    """min(|e|, cap), cap > 0."""

    cap: float

    def value(self, error: FloatArray) -> FloatArray:
        """Give the capped absolute errors.

        >>> CappedAbsolute(cap=10.0).value(np.array([-0.5, 12.0])).tolist()
        [0.5, 10.0]
        """
        return np.minimum(np.abs(error), self.cap)

    def of_square(self, square: FloatArray) -> FloatArray:
        """Give min(sqrt x, cap)."""
        return np.minimum(np.sqrt(square), self.cap)

    def importance(self, square: FloatArray) -> FloatArray:
        """Give 1 / (2 sqrt x) below the cap, and next to nothing past it."""
        root = np.maximum(np.sqrt(square), _LEAST_ERROR)
        return np.where(root < self.cap, 1 / (2 * root), _PAST_THE_CAP / (2 * self.cap))


SQUARED = Squared()
