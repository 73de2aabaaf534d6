"""One training of three networks: the dense twin and the gated network side by side, then the twin and what was chosen.

Both see the same rows in the same batches from the same starting weights, by the same optimiser; only gates differ. An
epoch's random numbers come from the run's seed and the epoch alone, so a resumed run draws what the first would have.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from l0core import checkpoint
from l0core.context import EpochReport, RunContext, Stopped
from l0core.continuing import changed_hyperparameters
from l0core.errors import Diverged
from l0core.history import History, log_distance
from l0core.penalties import compute_l2_penalty, update_temperatures
from l0core.pruning.choice import Masks, choose, open_ones
from l0core.pruning.counting import expected_parameters, rankings
from l0core.pruning.data import Data
from l0core.pruning.judging import judged, loss_of
from l0core.pruning.learner import Learner, masks_in
from l0core.pruning.modules import gated_network, masks_by_name, plain_network, starting_weights, weights_to_go_on_with
from l0core.pruning.options import PruningHyperparameters
from l0core.pruning.price import price_of
from l0core.pruning.problem import PruningProblem
from l0core.pruning.schedules import Schedules
from l0core.pruning.seeds import Purpose, seed_for

TWIN, GATED, PRUNED = "twin", "gated", "pruned"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The networks at the end and how they got there; `pruned` has all sizes still, zeros where nothing stayed."""

    twin: nn.Sequential
    gated: nn.Sequential
    pruned: nn.Sequential
    history: History


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Mean losses of the training rows while an epoch went over them."""

    loss: float
    twin_loss: float


class Training:
    """The state of one run and the loop over its epochs."""

    def __init__(
        self,
        problem: PruningProblem,
        options: PruningHyperparameters,
        context: RunContext,
        identity: checkpoint.Identity,
        data: Data,
    ) -> None:
        self._problem, self._options, self._context = problem, options, context
        self._identity, self._data = identity, data
        self._loss = loss_of(problem.task)
        self._epoch, self._begun_at, self._history = 0, 0, History()
        self._price_policy = price_of(problem.plan, options)
        self._level = torch.tensor(self._price_policy.start, dtype=torch.float64, device=context.device)
        self._price = self._level.clone()
        self._schedules = Schedules(options=options, steps_per_epoch=math.ceil(len(data.training) / options.batch_size))
        self._noise = torch.Generator(context.device)
        start = starting_weights(problem, context.seed, data.scale)
        self._twin = Learner.of(plain_network(problem.plan, start).to(context.device))
        gated = gated_network(problem.plan, start, options, self._noise.manual_seed(self._seed(Purpose.GATES, -1)))
        self._gated = Learner.of(gated.to(context.device))
        self._pruned: Learner | None = None
        self._last_log, self._keeper = (0, context.clock()), checkpoint.Keeper(context, identity)
        if context.resume_from is not None:
            self._restore(context.resume_from)
        elif context.continue_from is not None:
            self._continue(context.continue_from)

    def run(self) -> Trained | Stopped:
        """Go on from where the state stands to the last epoch, or to where the context says stop."""
        while True:
            stopping = self._context.should_stop()
            if self._epoch == self._options.epochs and self._pruned is None:
                self._choose()
            self._checkpoint(forced=stopping or self._is_last)
            if stopping:
                return Stopped(epoch=self._epoch)
            if self._pruned is not None and self._is_last:
                return Trained(
                    twin=self._twin.network,
                    gated=self._gated.network,
                    pruned=self._pruned.network,
                    history=self._history,
                )
            self._take_an_epoch()

    @property
    def _is_last(self) -> bool:
        return self._epoch == self._options.all_epochs

    def _take_an_epoch(self) -> None:
        done = self._went_over_the_rows()
        self._epoch += 1
        if not (math.isfinite(done.loss) and math.isfinite(done.twin_loss)):
            raise self._diverged()
        if self._epoch % log_distance(self._options.all_epochs, self._context.log_every) == 0 or self._is_last:
            self._log(done)

    def _went_over_the_rows(self) -> Epoch:
        """Take one step of both networks for each batch."""
        self._set_rates()
        student = self._student
        student.network.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self._context.device)
        for rows, outcome in self._batches():
            losses = [self._loss(learner.network(rows), outcome) for learner in (student, self._twin)]
            sums += torch.stack(losses).detach().double() * len(rows)
            student.step(losses[0] + self._penalty(student))
            self._twin.step(losses[1] + self._options.lambda_l2 * compute_l2_penalty(self._twin.network))
        loss, twin_loss = (sums / len(self._data.training)).tolist()
        return Epoch(loss=loss, twin_loss=twin_loss)

    @property
    def _student(self) -> Learner:
        """What is trained beside the twin: the gated network, then what was chosen of it."""
        return self._gated if self._pruned is None else self._pruned

    def _set_rates(self) -> None:
        rate = self._schedules.learning_rate(self._epoch)
        self._twin.set_rates(rate, rate)
        self._student.set_rates(rate, self._schedules.gate_rate(self._epoch))
        if self._pruned is None:
            update_temperatures(self._gated.network, self._schedules.temperature(self._epoch))
            self._noise.manual_seed(self._seed(Purpose.GATES, self._epoch))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        training = self._data.training
        generator = torch.Generator().manual_seed(self._seed(Purpose.ORDER, self._epoch))
        order = torch.randperm(len(training), generator=generator).to(self._context.device)
        for chosen in torch.split(order, self._options.batch_size):
            yield training.rows[chosen], training.outcome[chosen]

    def _seed(self, purpose: Purpose, epoch: int) -> int:
        """Give the seed of an epoch's draws; a run that goes on from another draws what comes after it."""
        return seed_for(purpose, self._context.seed, 1 + epoch + self._begun_at)

    def _penalty(self, student: Learner) -> Tensor:
        """Give what weights and, while there are gates, parameters cost; the price follows the count."""
        squares = self._options.lambda_l2 * compute_l2_penalty(student.network)
        if self._pruned is not None:
            return squares
        expected = expected_parameters(student.network, self._problem.plan)
        self._level, self._price = self._price_policy.update(self._level, expected, self._schedules.place(self._epoch))
        return squares + self._price.to(expected.dtype) / len(self._data.training) * expected

    def _choose(self) -> None:
        """Leave the gates: keep what meets the target, or what is open; both networks then begin a new descent."""
        plan, goal = self._problem.plan, self._price_policy.goal
        ranked = rankings(self._gated.network, plan)
        chosen = open_ones(ranked, above=0.0) if goal is None else choose(ranked, goal)
        self._begin_finetuning(chosen)
        self._twin = Learner.of(self._twin.network)

    def _begin_finetuning(self, chosen: Masks) -> None:
        plan = self._problem.plan
        network = plain_network(plan, weights_to_go_on_with(self._gated.network, plan)).to(self._context.device)
        self._pruned = Learner.of(network, masks=masks_by_name(chosen, plan, self._context.device))

    # --- what is told

    def _log(self, done: Epoch) -> None:
        student, data, task = self._student.network, self._data, self._problem.task
        held, twin = judged(student, data.holdout, task), judged(self._twin.network, data.holdout, task)
        metrics = {
            "loss": done.loss,
            "dense_loss": done.twin_loss,
            "holdout_loss": held.loss,
            "dense_holdout_loss": twin.loss,
            "holdout_score": held.right,
            "dense_holdout_score": twin.right,
            **self._settings(),
        }
        told = {name: value for name, value in metrics.items() if not math.isnan(value)}
        self._history.add(self._epoch, told)
        self._context.report(EpochReport(epoch=self._epoch, epochs=self._options.all_epochs, metrics=told))

    def _settings(self) -> dict[str, float]:
        last = self._epoch - 1
        (epoch, then), now = self._last_log, self._context.clock()
        self._last_log = (self._epoch, now)
        return {
            "parameters": self._parameters(),
            "lambda_l0": float(self._price),
            "temperature": self._schedules.temperature(last),
            "learning_rate": self._schedules.learning_rate(last),
            "epoch_seconds": (now - then) / max(1, self._epoch - epoch),
        }

    def _parameters(self) -> float:
        """Give the expected count of parameters, or once they are chosen the count."""
        if self._pruned is None:
            with torch.no_grad():
                return float(expected_parameters(self._gated.network, self._problem.plan))
        return float(sum(mask.sum(dtype=torch.float64) for mask in self._pruned.masks.values()))

    def _diverged(self) -> Diverged:
        return Diverged(
            f"after {self._epoch} epochs the loss is not a number: lower learning_rate (now "
            f"{self._options.learning_rate:g}) or scale the features",
            epoch=self._epoch,
        )

    # --- what is kept

    def _checkpoint(self, *, forced: bool) -> None:
        if not self._keeper.is_due(self._epoch, forced=forced):
            return
        if not all(learner.is_sound() for learner in self._learners().values()):
            raise self._diverged()
        self._keeper.keep(self._epoch, self._tensors(), self._history)

    def _learners(self) -> dict[str, Learner]:
        both = {TWIN: self._twin, GATED: self._gated}
        return both if self._pruned is None else both | {PRUNED: self._pruned}

    def _tensors(self) -> dict[str, Tensor]:
        state = {
            "price_level": self._level,
            "lambda_l0": self._price,
            "begun_at": torch.tensor(self._begun_at),
            "held_at": torch.tensor(self._schedules.held_at, dtype=torch.float64),
        }
        for name, learner in self._learners().items():
            state |= learner.tensors(name)
        return state

    def _restore(self, path: Path) -> None:
        """Go on with this run from its own checkpoint, as if nothing had happened."""
        self._epoch, held, self._history = checkpoint.read(path, self._identity)
        self._take_up(held)
        self._begun_at = int(held["begun_at"])
        self._schedules = replace(self._schedules, held_at=float(held["held_at"]))
        masks = masks_in(PRUNED, held)
        if masks:
            update_temperatures(self._gated.network, self._schedules.temperature(self._options.epochs - 1))
            network = plain_network(self._problem.plan, starting_weights(self._problem, 0, self._data.scale))
            device = self._context.device
            self._pruned = Learner.of(network.to(device), masks={name: m.to(device) for name, m in masks.items()})
            self._pruned.take_up(PRUNED, held)
        self._last_log = (self._epoch, self._context.clock())

    def _continue(self, path: Path) -> None:
        """Begin this run where another of the same problem stood, its schedules held there."""
        other, epoch, held = checkpoint.read_of_problem(path, self._identity.problem_sha256)
        self._take_up(held)
        self._begun_at = epoch + int(held["begun_at"])
        self._schedules = replace(self._schedules, held_at=_held_place(epoch, other, float(held["held_at"])))
        for doubt in changed_hyperparameters(other.hyperparameters, self._identity.hyperparameters):
            self._context.report(doubt)

    def _take_up(self, held: dict[str, Tensor]) -> None:
        self._twin.take_up(TWIN, held)
        self._gated.take_up(GATED, held)
        if self._price_policy.goal is not None or self._context.resume_from is not None:
            self._level, self._price = (held[name].to(self._context.device) for name in ("price_level", "lambda_l0"))


def _held_place(epoch: int, other: checkpoint.Identity, held_at: float) -> float:
    """Give the share of its schedules at which the other run took its last step with gates."""
    with_gates = int(other.hyperparameters["epochs"])
    return min(1.0, max(0, epoch - 1) / with_gates) if math.isnan(held_at) else held_at
