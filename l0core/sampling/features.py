"""Mode `features`: exactly `count` columns that explain an outcome, by forward selection and exchanges (see `subset`).

A round adds columns until there are `count`, or exchanges one; the state is which columns are chosen, so that a
checkpoint is small and a run that goes on from one is the run that was not stopped.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from l0core import checkpoint
from l0core.arrays import FloatArray
from l0core.calibration.continuing import doubts
from l0core.checkpoint import Identity
from l0core.context import EpochReport, RunContext, StageReport, Stopped
from l0core.errors import CheckpointIncompatible, InfeasibleBudget, InvalidHyperparameter, InvalidInput
from l0core.history import History
from l0core.sampling.explaining import outcome_of
from l0core.sampling.options import SamplingHyperparameters
from l0core.sampling.problem import SamplingProblem
from l0core.sampling.result import FeaturesResult, last_checkpoint
from l0core.sampling.streams import Stream, stream
from l0core.sampling.subset import Search

_MOST_NUMBERS = 2**28  # of a dense array of the chosen columns, or of all exchanges: 2 GiB
_LARGEST_SQUARE = 1e150  # times as large a weight it is still a number
_CHOSEN = "chosen"


def choose_features(
    problem: SamplingProblem, options: SamplingHyperparameters, context: RunContext
) -> FeaturesResult | Stopped:
    """Choose exactly `count` columns; raises InvalidInput without an outcome, InfeasibleBudget for too many."""
    context.report(StageReport(stage="preparing"))
    search = _search(problem, options)
    identity = Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=context.seed)
    context.report(StageReport(stage="selecting"))
    rounds = _Rounds(search=search, options=options, context=context, identity=identity)
    if not rounds.run():
        return Stopped(epoch=rounds.done)
    context.report(StageReport(stage="evaluating"))
    random = _random_losses(search, options, context)
    if context.should_stop():
        return Stopped(epoch=rounds.done)
    return FeaturesResult(
        problem=problem,
        options=options,
        identity=identity,
        columns=rounds.chosen,
        explained=search.fitted(rounds.chosen),
        history=rounds.history,
        random=random,
        checkpoint=last_checkpoint(context),
    )


def _search(problem: SamplingProblem, options: SamplingHyperparameters) -> Search:
    available = int((~problem.holdout).sum())
    if options.count > available:
        raise InfeasibleBudget(
            f"count is {options.count}, and {available} columns may be chosen: ask for at most {available}",
            budget=options.count,
            available=available,
            pointer="/hyperparameters/count",
        )
    outcome = outcome_of(problem, options)
    largest = max(problem.n_units, problem.n_columns * outcome.dimensions) * options.count
    if largest > _MOST_NUMBERS:
        raise InvalidHyperparameter(
            f"count is {options.count}: {problem.n_units} units and {problem.n_columns} columns make {largest} numbers "
            f"at once, and {_MOST_NUMBERS} are taken at most: ask for fewer columns",
            pointer="/hyperparameters/count",
        )
    return Search(
        outcome=outcome,
        features=problem.features,
        squares=_squares(problem),
        open_=~problem.holdout,
        count=options.count,
    )


def _squares(problem: SamplingProblem) -> sp.csr_array:
    """Give the squares of the columns; raises where they are beyond float64."""
    with np.errstate(over="ignore"):
        squares = sp.csr_array(problem.features**2)
    bad = np.flatnonzero(~np.isfinite(squares.data) | (squares.data > _LARGEST_SQUARE))
    if bad.size:
        column = int(problem.features.indices[bad[0]])
        raise InvalidInput(
            f"column '{problem.names[column]}' holds {problem.features.data[bad[0]]:g}, whose square is too large to "
            "be summed: divide the column by a constant",
            pointer="/features",
        )
    return squares


@dataclass(kw_only=True)
class _Rounds:
    """The state of one search and the loop over it."""

    search: Search
    options: SamplingHyperparameters
    context: RunContext
    identity: Identity
    chosen: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    done: int = 0
    exchanges: int = 0
    settled: bool = False
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        if self.context.resume_from is not None:
            self._resume(self.context.resume_from)
        elif self.context.continue_from is not None:
            self._continue(self.context.continue_from)
        self._keeper = checkpoint.Keeper(self.context, self.identity)

    def run(self) -> bool:
        """Go on to the end and say whether it was reached; False where the context says stop."""
        while True:
            stopping = self.context.should_stop()
            loss = self.search.fitted(self.chosen).loss
            self._log(loss)
            self._checkpoint(forced=stopping or self._is_last)
            if stopping or self._is_last:
                return not stopping
            self._step(loss)

    @property
    def _is_last(self) -> bool:
        return self.chosen.size == self.search.count and (self.settled or self.exchanges == self.options.epochs)

    def _step(self, loss: float) -> None:
        """Take one round: the exchange that finds nothing is one too."""
        self.done += 1
        if self.chosen.size > self.search.count:
            self.chosen = self.search.next_removal(self.chosen)
        elif self.chosen.size < self.search.count:
            self.chosen = self.search.next_addition(self.chosen)
        else:
            self.exchanges += 1
            better = self.search.next_exchange(self.chosen, loss)
            self.settled = better is None
            self.chosen = self.chosen if better is None else better

    def _log(self, loss: float) -> None:
        if self.history.steps and self.history.steps[-1] == self.done:
            return
        metrics = {"loss": loss, "data_loss": loss, "active": float(self.chosen.size)}
        self.history.add(self.done, metrics)
        left = 0 if self._is_last else max(1, self.search.count - self.chosen.size)
        self.context.report(EpochReport(epoch=self.done, epochs=self.done + left, metrics=metrics))

    def _checkpoint(self, *, forced: bool) -> None:
        if self._keeper.is_due(self.done, forced=forced):
            state = {_CHOSEN: self.chosen, "counted": np.array([self.exchanges, int(self.settled)])}
            tensors = {name: torch.from_numpy(numbers.astype(np.int64)) for name, numbers in state.items()}
            self._keeper.keep(self.done, tensors, self.history)

    def _resume(self, path: Path) -> None:
        self.done, held, self.history = checkpoint.read(path, self.identity)
        self.chosen = _chosen_in(held, path)
        self.exchanges, self.settled = int(held["counted"][0]), bool(held["counted"][1])

    def _continue(self, path: Path) -> None:
        other, _, held = checkpoint.read_of_problem(path, self.identity.problem_sha256)
        self.chosen = _chosen_in(held, path)
        for doubt in doubts(other.hyperparameters, self.identity.hyperparameters, self.options.learning_rate):
            self.context.report(doubt)


def _chosen_in(held: dict[str, torch.Tensor], path: Path) -> NDArray[np.intp]:
    if not {_CHOSEN, "counted"} <= held.keys():
        raise CheckpointIncompatible(f"'{path}' holds no choice of columns: it is of another mode; start without it")
    return held[_CHOSEN].numpy().astype(np.intp)


def _random_losses(search: Search, options: SamplingHyperparameters, context: RunContext) -> FloatArray:
    """Give the losses of random choices of as many columns, fewer where the context says stop."""
    rng, open_ = stream(context.seed, Stream.COMPARISONS), np.flatnonzero(search.open_)
    losses = list[float]()
    for _ in range(options.comparisons):
        if context.should_stop():
            break
        losses.append(search.fitted(np.sort(rng.choice(open_, search.count, replace=False))).loss)
    return np.array(losses)
