"""What chosen columns explain of an outcome: weighted least squares, or multinomial logistic regression, unpenalised.

Logistic coefficients are those of each class against the first; a ridge too small to matter keeps them finite where
the columns tell the classes apart without fault.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from l0core.arrays import Axis, FloatArray
from l0core.arrays import integers as whole_numbers
from l0core.errors import InvalidInput
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem

_STEPS = 60  # of Newton's method
_SETTLED = 1e-12  # of the loss: a step that lowers it by less is the last
_HALVINGS = 30
_RIDGE = 1e-8  # on standardised columns, beside a mean loss
_MOST_CLASSES = 20  # their second derivatives are (classes x columns) squared
_SURE = 1e-10  # what a probability is kept away from 0 by where its logarithm is taken


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A fit on chosen columns: `coefficients` are k x C on the columns' own scale, `intercepts` C.

    `loss` is the mean squared error or the mean logarithmic loss, `without` that of the intercepts alone.
    `scores` and `curvatures` (N x C) are the loss's slope and second slope in each unit's prediction, and
    `standardised` the coefficients of the columns at mean 0 and variance 1.
    """

    coefficients: FloatArray
    intercepts: FloatArray
    loss: float
    without: float
    scores: FloatArray
    curvatures: FloatArray
    standardised: FloatArray
    accuracy: float | None = None

    @property
    def strengths(self) -> FloatArray:
        """Give each column's coefficient, or the length of its coefficients where there are several."""
        several = self.coefficients.shape[1] > 1
        return np.linalg.norm(self.coefficients, axis=1) if several else self.coefficients[:, 0]

    @property
    def numbers(self) -> dict[str, Any]:
        """What the summary says of it."""
        return {
            "loss": self.loss,
            "loss_without_columns": self.without,
            "explained_share": 1 - self.loss / self.without,
            "accuracy": self.accuracy,
            "intercept": float(self.intercepts[0]),
        }


class Outcome(Protocol):
    """What is to be explained."""

    @property
    def weights(self) -> FloatArray:
        """How much each unit counts; they sum to 1."""
        ...

    @property
    def dimensions(self) -> int:
        """How many coefficients a column has."""
        ...

    def explained_by(self, columns: FloatArray) -> Explained:
        """Fit columns (N x k) to it."""
        ...


def outcome_of(problem: SamplingProblem, options: SamplingHyperparameters) -> Outcome:
    """Give the outcome in the form its task needs; raises InvalidInput where there is none, or nothing to explain."""
    if problem.outcome is None:
        raise InvalidInput(
            "mode 'features' explains an outcome, and the problem has none: give `outcome`, one number a unit",
            pointer="/outcome",
        )
    weights = problem.design_weights / problem.design_weights.sum()
    if options.task == "classification":
        return Classes.of(problem.outcome, weights)
    return Numbers.of(problem.outcome, weights)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A number a unit, and the units' weights, which sum to 1."""

    values: FloatArray
    weights: FloatArray

    @property
    def dimensions(self) -> int:
        """One coefficient."""
        return 1

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray) -> "Numbers":
        """Take an outcome that varies."""
        seen = values[weights > 0]
        if seen.min() == seen.max():
            raise InvalidInput(
                f"outcome is {seen[0]:g} for every unit of positive weight; there is nothing to explain",
                pointer="/outcome",
            )
        return cls(values=values, weights=weights)

    def explained_by(self, columns: FloatArray) -> Explained:
        """Fit by least squares.

        >>> found = Numbers.of(np.array([1.0, 3.0, 5.0]), np.full(3, 1 / 3)).explained_by(np.array([[0.0], [1], [2]]))
        >>> found.coefficients.round(9).tolist(), found.intercepts.round(9).tolist()
        ([[2.0]], [1.0])
        """
        scaled, mean, scale = standardised(columns, self.weights)
        root = np.sqrt(self.weights)
        centre = float(self.weights @ self.values)
        away = self.values - centre
        found = la.lstsq(scaled * root[:, None], away * root, check_finite=False)[0] if columns.shape[1] else _none(1)
        residual = away - scaled @ found.reshape(-1)
        slopes = found.reshape(-1, 1) / scale[:, None]
        return Explained(
            coefficients=slopes,
            intercepts=np.array([centre]) - mean @ slopes,
            loss=float(self.weights @ residual**2),
            without=float(self.weights @ away**2),
            scores=(self.weights * residual)[:, None],
            curvatures=self.weights[:, None],
            standardised=found.reshape(-1, 1),
        )


@dataclass(frozen=True, kw_only=True)
class Classes:
    """A class a unit: `member` says which, 0 to K - 1, and the units' weights, which sum to 1."""

    member: NDArray[np.intp]
    classes: int
    weights: FloatArray

    @property
    def dimensions(self) -> int:
        """One coefficient for each class but the first."""
        return self.classes - 1

    @classmethod
    def of(cls, ids: FloatArray, weights: FloatArray) -> "Classes":
        """Take ids of two classes or more."""
        whole = whole_numbers(ids, name="outcome", axis=Axis(length=ids.size, noun="rows of the features"))
        labels, member = np.unique(whole, return_inverse=True)
        seen = np.unique(member[weights > 0]).size
        if not 2 <= seen <= labels.size <= _MOST_CLASSES:
            raise InvalidInput(
                f"outcome has {seen} classes among the units of positive weight, and {labels.size} in all; a "
                f"classification takes 2 to {_MOST_CLASSES}",
                pointer="/outcome",
            )
        return cls(member=member, classes=labels.size, weights=weights)

    def explained_by(self, columns: FloatArray) -> Explained:
        """Fit by Newton's method."""
        scaled, mean, scale = standardised(columns, self.weights)
        design = np.hstack([np.ones((self.member.size, 1)), scaled])
        parameters = np.zeros((design.shape[1], self.dimensions))
        parameters[0] = self._starting_intercepts()
        without = self._loss(design, parameters)
        if columns.shape[1]:
            parameters = self._newton(design, parameters)
        chance = self._chances(design, parameters)[:, 1:]
        slopes = parameters[1:] / scale[:, None]
        weights = self.weights[:, None]
        said = self._chances(design, parameters).argmax(axis=1)
        return Explained(
            coefficients=slopes,
            intercepts=parameters[0] - mean @ slopes,
            loss=self._log_loss(design, parameters),
            without=without,
            scores=weights * (self._members - chance),
            curvatures=weights * chance * (1 - chance),
            standardised=parameters[1:],
            accuracy=min(1.0, float(self.weights[said == self.member].sum())),
        )

    @property
    def _members(self) -> FloatArray:
        return np.asarray(self.member[:, None] == np.arange(1, self.classes), dtype=np.float64)

    def _starting_intercepts(self) -> FloatArray:
        share = np.maximum(np.bincount(self.member, self.weights, minlength=self.classes), _SURE)
        return np.asarray(np.log(share[1:] / share[0]))

    def _chances(self, design: FloatArray, parameters: FloatArray) -> FloatArray:
        scores = np.hstack([np.zeros((design.shape[0], 1)), design @ parameters])
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def _log_loss(self, design: FloatArray, parameters: FloatArray) -> float:
        own = np.take_along_axis(self._chances(design, parameters), self.member[:, None], axis=1)[:, 0]
        return float(-(self.weights @ np.log(np.maximum(own, np.finfo(np.float64).tiny))))

    def _loss(self, design: FloatArray, parameters: FloatArray) -> float:
        return self._log_loss(design, parameters) + _RIDGE / 2 * float((parameters[1:] ** 2).sum())

    def _newton(self, design: FloatArray, parameters: FloatArray) -> FloatArray:
        loss = self._loss(design, parameters)
        for _ in range(_STEPS):
            step = self._step(design, parameters)
            factor, then = 1.0, self._loss(design, parameters + step)
            for _ in range(_HALVINGS):
                if then <= loss:
                    break
                factor /= 2
                then = self._loss(design, parameters + factor * step)
            if not then <= loss:
                break
            parameters = parameters + factor * step
            if loss - then <= _SETTLED * loss:
                break
            loss = then
        return parameters

    def _step(self, design: FloatArray, parameters: FloatArray) -> FloatArray:
        chance, k, c = self._chances(design, parameters)[:, 1:], design.shape[1], self.dimensions
        ridge = np.full(k, _RIDGE)
        ridge[0] = 0.0
        slope = design.T @ (self.weights[:, None] * (self._members - chance)) - ridge[:, None] * parameters
        bend = np.empty((c, k, c, k))
        for a in range(c):
            for b in range(c):
                together = self.weights * chance[:, a] * ((a == b) - chance[:, b])
                bend[a, :, b, :] = design.T @ (design * together[:, None])
            bend[a, :, a, :] += np.diag(ridge)
        found = la.lstsq(bend.reshape(c * k, c * k), slope.T.reshape(-1), check_finite=False)[0]
        return np.asarray(found.reshape(c, k).T)


def standardised(columns: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give columns at weighted mean 0 and variance 1, the means, and the deviations (1 for a constant column)."""
    mean = weights @ columns
    away = columns - mean
    deviation = np.sqrt(weights @ away**2)
    scale = np.where(deviation > 0, deviation, 1.0)
    return away / scale, mean, scale


def dense(features: sp.csr_array, columns: NDArray[np.intp]) -> FloatArray:
    """Give these columns as a dense array."""
    return np.asarray(features[:, columns].toarray())


def _none(dimensions: int) -> FloatArray:
    return np.zeros((0, dimensions))
