"""The training loop, seen from outside: its first gradient and loss against the plain formula, and its bits.

After one step from zero moments Adam's first moment is a tenth of the gradient, and a checkpoint holds it: that is how
the gradient is read here, whatever computes it.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.integrate import quad_vec

from l0core import checkpoint
from l0core import hard_concrete as hc
from l0core.arrays import FloatArray
from l0core.calibration.kernels.torch_csr import threads_for
from l0core.calibration.objective import Objective, prepare
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.calibration.select import Selection, Selector
from l0core.checkpoint import Identity
from l0core.context import CheckpointPolicy, EpochReport, RunContext, Stopped
from l0core.errors import CheckpointIncompatible, Diverged
from l0core.history import History
from l0core.noise import epoch_key, logistic_by_number
from tests.problems import arbitrary, conflicting, explosive, solved

seeds = st.integers(0, 2**31)
GRADIENTS = ("expected", "sampled")
SEED = 3
FLOAT32_ERROR = 1e-5  # of the sum of the absolute values of what is summed
SLOPE_ERROR = 6e-3  # the table's slope is that of a cell, 0.01 wide: half of that times the curvature, in the tails e^a


def _options(**given_: Any) -> CalibrationHyperparameters:
    return CalibrationHyperparameters(**given_)


# The state of a selection, read from its checkpoints.


@dataclass(frozen=True, kw_only=True)
class _FirstStep:
    """Where a selection starts, and the gradient (2 x n) and numbers it finds there."""

    log_weight: FloatArray
    log_alpha: FloatArray
    gradient: FloatArray
    reported: dict[str, float]


def _identity(
    problem: CalibrationProblem, options: CalibrationHyperparameters, context: RunContext
) -> checkpoint.Identity:
    return Identity(problem_sha256=problem.sha256, hyperparameters=options.model_dump(), seed=context.seed)


def _select(
    problem: CalibrationProblem, options: CalibrationHyperparameters, context: RunContext
) -> Selection | Stopped:
    objective = prepare(problem, options)

    def estimates(of_the_fit: FloatArray, weights: Callable[[], FloatArray]) -> FloatArray:
        found = problem.estimates(objective.dense(weights()))
        found[objective.rows] = of_the_fit
        return found

    with threads_for(objective.plain):
        return Selector(objective, options, context, _identity(problem, options, context), estimates).run()


def _selected(
    problem: CalibrationProblem, options: CalibrationHyperparameters, context: RunContext
) -> tuple[bytes, History]:
    selection = _select(problem, options, context)
    assert isinstance(selection, Selection)
    parts = (selection.weights, selection.gates, selection.usefulness)
    return b"".join(part.tobytes() for part in parts), selection.history


def _first_step(problem: CalibrationProblem, options: CalibrationHyperparameters) -> _FirstStep:
    """Run the first of the epochs that `options` ask for, with a checkpoint before and after it."""
    reports: list[EpochReport] = []
    held: list[dict[str, torch.Tensor]] = []

    def keep(path: Path, _epoch: int) -> None:
        held.append(checkpoint.read(path, _identity(problem, options, context))[1])

    with TemporaryDirectory() as folder:
        policy = CheckpointPolicy(folder=Path(folder), every_seconds=0, saved=keep)
        context = RunContext(
            seed=SEED,
            log_every=1,
            checkpoints=policy,
            report=reports.append,  # type: ignore[arg-type]  # a selection only reports epochs
            should_stop=_stop_before(1),
        )
        _select(problem, options, context)
    start, after = held
    return _FirstStep(
        log_weight=start["log_weight"].double().numpy(),
        log_alpha=start["log_alpha"].double().numpy(),
        gradient=after["adam_first"].double().numpy() / 0.1 / after["gradient_unit"].item(),
        reported=reports[0].metrics,
    )


def _stop_before(epoch: int) -> Callable[[], bool]:
    asked = itertools.count()
    return lambda: next(asked) >= epoch


# The plain formulas, in float64 and dense.


@dataclass(frozen=True, kw_only=True)
class _Plain:
    """Loss and gradient with gate values m and variances v (and their slopes) given."""

    objective: Objective
    options: CalibrationHyperparameters
    price: float

    @property
    def shape(self) -> hc.GateShape:
        return hc.GateShape(beta=self.options.beta, gamma=self.options.gamma, zeta=self.options.zeta)

    def prob_active(self, log_alpha: FloatArray) -> FloatArray:
        threshold = self.shape.beta * np.log(-self.shape.gamma / self.shape.zeta)
        return np.asarray(1 / (1 + np.exp(-(log_alpha - threshold))))

    def data_loss(self, w: FloatArray, m: FloatArray, v: FloatArray) -> float:
        a, b = self.objective.columns(np.arange(self.objective.n_candidates)).toarray(), self.objective.goal
        total = 0.0
        for i in range(b.size):
            total += float(sum(a[i, j] * w[j] * m[j] for j in range(w.size)) - b[i]) ** 2
        return total + float(sum(w[j] ** 2 * v[j] * (a[:, j] @ a[:, j]) for j in range(w.size)))

    def penalties(self, w: FloatArray, log_alpha: FloatArray, m: FloatArray, v: FloatArray) -> float:
        spread = self.options.lambda_spread * float(np.mean((w / self.objective.prior) ** 2 * (m**2 + v)))
        return spread + self.price * float(self.prob_active(log_alpha).sum()) + self.options.lambda_l2 * float(w @ w)

    def gradient(self, step: _FirstStep, gate: list[FloatArray], *, absolute: bool = False) -> FloatArray:
        """Give the gradient as 2 x n; with `absolute`, the sum of the absolute values of its terms."""
        size: Callable[[FloatArray], FloatArray] = np.abs if absolute else np.asarray
        a, b = self.objective.columns(np.arange(self.objective.n_candidates)).toarray(), self.objective.goal
        m, dm, v, dv = gate
        w, p = np.exp(step.log_weight), self.prob_active(step.log_alpha)
        pull = 2 * (size(a).T @ (size(a) @ (w * m) + size(-b)))
        norms = (a**2).sum(axis=0)
        by_log_weight = w * m * pull + 2 * w**2 * norms * v + 2 * self.options.lambda_l2 * w**2
        by_log_alpha = w * size(dm) * pull + size(w**2 * norms * dv) + self.price * p * (1 - p)
        cost = self.options.lambda_spread * (w / self.objective.prior) ** 2 / w.size
        by_log_weight += 2 * cost * (m**2 + v)
        by_log_alpha += cost * (2 * m * size(dm) + size(dv))
        return np.stack([by_log_weight, by_log_alpha])


def _plain(problem: CalibrationProblem, options: CalibrationHyperparameters) -> _Plain:
    assert options.lambda_l0 is not None
    return _Plain(objective=prepare(problem, options), options=options, price=options.lambda_l0)


def _table_moments(plain: _Plain, log_alpha: FloatArray) -> list[FloatArray]:
    """Give the table's own float32 numbers, in float64: here the arithmetic around it is tested."""
    found = hc.GateMoments(plain.shape, device="cpu")(torch.tensor(log_alpha, dtype=torch.float32))
    return [m.double().numpy() for m in found]


def _exact_moments(plain: _Plain, log_alpha: FloatArray) -> tuple[FloatArray, FloatArray]:
    shape = plain.shape

    def beyond(t: float) -> FloatArray:
        s = (t - shape.gamma) / (shape.zeta - shape.gamma)
        return np.asarray(1 / (1 + np.exp(-(log_alpha - shape.beta * (np.log(s) - np.log1p(-s))))))

    def twice(t: float) -> FloatArray:
        return 2 * t * beyond(t)

    mean = quad_vec(beyond, 0, 1, epsabs=1e-12, epsrel=1e-12)[0]
    return mean, quad_vec(twice, 0, 1, epsabs=1e-12, epsrel=1e-12)[0] - mean**2


first_epoch = st.fixed_dictionaries(
    {
        "lambda_l0": st.floats(0, 10),
        "lambda_l2": st.floats(0, 1),
        "lambda_spread": st.sampled_from([0.0, 1e-3, 1.0]),
        "loss": st.sampled_from(["relative", "squared"]),
        "beta": st.sampled_from([0.1, 0.35, 2 / 3, 2.0]),
        "init_keep_prob": st.floats(0.05, 0.95),
        "log_weight_jitter_sd": st.floats(0, 1),
        "log_alpha_jitter_sd": st.floats(
            0.1, 2
        ),  # off the borders of the table of moments, where a gate has two slopes
        "normalize_groups": st.booleans(),
    }
)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, hyperparameters=first_epoch)
def test_the_expected_loss_and_its_gradient_are_the_plain_formula(seed: int, hyperparameters: dict[str, Any]) -> None:
    problem, options = arbitrary(seed), _options(**hyperparameters)
    plain, step = _plain(problem, options), _first_step(problem, options)
    w, gate = np.exp(step.log_weight), _table_moments(plain, step.log_alpha)
    loss = plain.data_loss(w, gate[0], gate[2])
    rounding = 1e-7 * float(plain.objective.goal @ plain.objective.goal)  # where estimate and goal nearly cancel
    assert step.reported["data_loss"] == pytest.approx(loss, rel=FLOAT32_ERROR, abs=rounding)
    whole = loss + plain.penalties(w, step.log_alpha, gate[0], gate[2])
    assert step.reported["loss"] == pytest.approx(whole, rel=FLOAT32_ERROR, abs=rounding)
    assert step.reported["l2_penalty"] == pytest.approx(options.lambda_l2 * float(w @ w), rel=FLOAT32_ERROR, abs=1e-12)
    assert step.reported["expected_l0"] == pytest.approx(plain.prob_active(step.log_alpha).sum(), rel=FLOAT32_ERROR)
    terms = plain.gradient(step, gate, absolute=True)
    assert (np.abs(step.gradient - plain.gradient(step, gate)) <= FLOAT32_ERROR * terms).all()


def _differences(loss: Callable[[FloatArray], float], theta: FloatArray, h: float = 1e-5) -> FloatArray:
    found = np.zeros_like(theta)
    for at in np.ndindex(theta.shape):
        step = np.zeros_like(theta)
        step[at] = h
        found[at] = (loss(theta + step) - loss(theta - step)) / (2 * h)
    return found


@settings(deadline=None, max_examples=10)
@given(seed=seeds, hyperparameters=first_epoch)
def test_the_expected_gradient_agrees_with_differences_of_the_integrated_loss(
    seed: int, hyperparameters: dict[str, Any]
) -> None:
    problem, options = arbitrary(seed, n_targets=3, n_units=5), _options(**hyperparameters)
    plain, step = _plain(problem, options), _first_step(problem, options)

    def loss(theta: FloatArray) -> float:
        mean, variance = _exact_moments(plain, theta[1])
        w = np.exp(theta[0])
        return plain.data_loss(w, mean, variance) + plain.penalties(w, theta[1], mean, variance)

    difference = _differences(loss, np.stack([step.log_weight, step.log_alpha]))
    mean, mean_slope, variance, variance_slope = _table_moments(plain, step.log_alpha)
    bent = [mean, mean_slope, variance, np.abs(variance_slope) + variance]
    terms = plain.gradient(step, bent, absolute=True)
    assert (np.abs(step.gradient - difference) <= SLOPE_ERROR * terms + 1e-6 * terms.max()).all()


@settings(deadline=None, max_examples=20)
@given(seed=seeds, hyperparameters=first_epoch)
def test_the_sampled_gradient_agrees_with_differences_of_the_loss_of_the_same_draw(
    seed: int, hyperparameters: dict[str, Any]
) -> None:
    problem = arbitrary(seed, n_targets=3, n_units=5)
    options = _options(**hyperparameters, gradient="sampled")
    plain, step = _plain(problem, options), _first_step(problem, options)
    noise = logistic_by_number(torch.empty(step.log_alpha.size), epoch_key(SEED, 0)).double()

    def drawn(log_alpha: FloatArray) -> FloatArray:
        return hc.draw(torch.tensor(log_alpha), noise, plain.shape)[0].numpy()

    def loss(theta: FloatArray) -> float:
        w, none = np.exp(theta[0]), np.zeros(theta.shape[1])
        return plain.data_loss(w, drawn(theta[1]), none) + plain.penalties(w, theta[1], drawn(theta[1]), none)

    difference = _differences(loss, np.stack([step.log_weight, step.log_alpha]))
    value, slope = (z.numpy() for z in hc.draw(torch.tensor(step.log_alpha), noise, plain.shape))
    nothing = np.zeros_like(value)
    terms = plain.gradient(step, [value, slope, nothing, nothing], absolute=True)
    kink = (drawn(step.log_alpha + 1e-4) == value) != (drawn(step.log_alpha - 1e-4) == value)  # opens or closes here
    close = np.abs(step.gradient - difference) <= FLOAT32_ERROR * terms + 1e-6 * terms.max()
    assert close[:, ~kink].all()
    drawn_loss = plain.data_loss(np.exp(step.log_weight), value, nothing)
    rounding = 1e-7 * float(plain.objective.goal @ plain.objective.goal)  # where estimate and goal nearly cancel
    assert step.reported["data_loss"] == pytest.approx(drawn_loss, rel=FLOAT32_ERROR, abs=rounding)


def test_the_expected_loss_is_the_mean_loss_over_draws() -> None:
    problem = arbitrary(5, n_targets=3, n_units=5)
    options = _options(lambda_l0=0.0, init_keep_prob=0.4, log_alpha_jitter_sd=1.0)
    plain, step = _plain(problem, options), _first_step(problem, options)
    n = 100_000
    a = torch.tensor(np.tile(step.log_alpha, (n, 1)))
    drawn = hc.draw(a, hc.logistic_noise(a, torch.Generator().manual_seed(8)), plain.shape)[0].numpy()
    estimates = (drawn * np.exp(step.log_weight)) @ plain.objective.columns(
        np.arange(plain.objective.n_candidates)
    ).toarray().T
    losses: NDArray[np.float64] = ((estimates - plain.objective.goal) ** 2).sum(axis=1)
    assert step.reported["data_loss"] == pytest.approx(losses.mean(), abs=5 * losses.std() / np.sqrt(n))


def test_with_gates_almost_open_or_shut_the_expected_loss_is_the_sum_over_every_subset() -> None:
    problem = arbitrary(9, n_targets=3, n_units=5)
    options = _options(lambda_l0=0.0, beta=1e-3, init_keep_prob=0.3, log_alpha_jitter_sd=1.0)
    plain, step = _plain(problem, options), _first_step(problem, options)
    open_, w = 1 / (1 + np.exp(-step.log_alpha)), np.exp(step.log_weight)
    total = 0.0
    for subset in itertools.product([0.0, 1.0], repeat=w.size):
        z = np.array(subset)
        total += float(np.prod(np.where(z == 1, open_, 1 - open_))) * plain.data_loss(w, z, np.zeros_like(w))
    assert step.reported["data_loss"] == pytest.approx(total, rel=5e-3)


# Bits: what changes them and what does not.


def _recorded(
    problem: CalibrationProblem, options: CalibrationHyperparameters, context: RunContext
) -> tuple[bytes, CalibrationResult]:
    result = run(problem, options, context)
    assert isinstance(result, CalibrationResult)
    return result.weights.tobytes(), result


def _curves(history: History) -> dict[str, list[float]]:
    return {name: values for name, values in history.metrics.items() if name != "epoch_seconds"}


MODES = pytest.mark.parametrize(
    "mode",
    [
        {"gradient": "expected", "lambda_share": 0.1},
        {"gradient": "sampled", "lambda_share": 0.1},
        {"gradient": "expected", "record_budget": 9},
        {"gradient": "sampled", "record_budget": 9},
        {"gradient": "expected", "lambda_share": 0.1, "temperature_schedule": "cosine"},
        {"gradient": "sampled", "record_budget": 9, "temperature_schedule": "linear", "lambda_spread": 0.1},
        {"gradient": "expected", "lambda_share": 0.1, "loss": "absolute_relative"},
        {"gradient": "sampled", "record_budget": 9, "loss": "absolute_relative", "temperature_schedule": "linear"},
    ],
    ids=[
        "expected",
        "sampled",
        "expected-budget",
        "sampled-budget",
        "annealed",
        "sampled-annealed",
        "absolute",
        "sampled-absolute",
    ],
)


@MODES
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(mode: dict[str, Any]) -> None:
    problem, options = solved().problem, _options(epochs=30, **mode)
    (first, one), (again, two), (other, _) = (_selected(problem, options, RunContext(seed=s)) for s in (4, 4, 5))
    assert first == again
    assert _curves(one) == _curves(two)
    assert first != other


@MODES
def test_looking_more_often_changes_no_bit(mode: dict[str, Any], tmp_path: Path) -> None:
    problem, options = conflicting(), _options(epochs=30, **mode)
    plain, _ = _recorded(problem, options, RunContext(seed=4, log_every=30))
    seconds = itertools.count()
    watched = RunContext(
        seed=4,
        log_every=1,
        report=lambda _: None,
        should_stop=lambda: False,
        clock=lambda: float(next(seconds)),
        checkpoints=CheckpointPolicy(folder=tmp_path, every_epochs=3, saved=lambda _path, _epoch: None),
    )
    assert _recorded(problem, options, watched)[0] == plain


@cache
def _undisturbed(options: str, log_every: int | None) -> tuple[bytes, History]:
    """Give the same run without a stop, run once for all the examples."""
    context = RunContext(seed=4, log_every=log_every)
    return _selected(conflicting(), CalibrationHyperparameters.model_validate_json(options), context)


@settings(deadline=None, max_examples=24)
@given(
    stop=st.integers(0, 20),
    gradient=st.sampled_from(GRADIENTS),
    budget=st.sampled_from([None, 9]),
    log_every=st.sampled_from([None, 1, 7]),
)
def test_stopped_anywhere_and_resumed_is_undisturbed_to_the_last_bit(
    stop: int, gradient: Literal["expected", "sampled"], budget: int | None, log_every: int | None
) -> None:
    problem, options = conflicting(), _options(epochs=20, gradient=gradient, record_budget=budget)
    undisturbed, whole = _undisturbed(options.model_dump_json(), log_every)
    with TemporaryDirectory() as folder:
        policy = CheckpointPolicy(folder=Path(folder))
        context = RunContext(seed=4, log_every=log_every, checkpoints=policy)
        stopped = _select(problem, options, replace(context, should_stop=_stop_before(stop)))
        assert stopped == Stopped(epoch=stop)
        resumed, rest = _selected(problem, options, replace(context, resume_from=policy.path))
    assert resumed == undisturbed
    assert rest.steps == whole.steps
    assert _curves(rest) == _curves(whole)
    assert {e: v.tolist() for e, v in rest.snapshots.items()} == {e: v.tolist() for e, v in whole.snapshots.items()}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_killed_after_any_checkpoint_and_resumed_is_undisturbed_to_the_last_bit(gradient: str, tmp_path: Path) -> None:
    """The checkpoint is one written on the way, not one the run was asked for at its stop; and it is resumed twice."""
    problem, options = conflicting(), _options(epochs=20, gradient=gradient)
    undisturbed, _ = _recorded(problem, options, RunContext(seed=4))
    copies: list[Path] = []

    def keep(path: Path, epoch: int) -> None:
        copies.append(tmp_path / f"{epoch}.safetensors")
        copies[-1].write_bytes(path.read_bytes())

    policy = CheckpointPolicy(folder=tmp_path / "here", every_epochs=6, saved=keep)
    assert _recorded(problem, options, RunContext(seed=4, checkpoints=policy))[0] == undisturbed
    assert [int(path.stem) for path in copies] == [6, 12, 18, 20]
    for path in copies:
        assert _recorded(problem, options, RunContext(seed=4, resume_from=path))[0] == undisturbed


def test_checkpoints_are_due_by_the_clock_where_no_number_of_epochs_is_given(tmp_path: Path) -> None:
    saved: list[int] = []
    seconds = itertools.count()
    policy = CheckpointPolicy(folder=tmp_path, every_seconds=25.0, saved=lambda _, epoch: saved.append(epoch))
    context = RunContext(checkpoints=policy, clock=lambda: float(next(seconds)), log_every=100)
    _select(solved().problem, _options(epochs=100), context)
    assert saved[-1] == 100
    assert 2 < len(saved) < 10


@pytest.mark.parametrize(
    ("problem", "options", "seed"),
    [
        (solved(seed=1).problem, _options(epochs=5), 4),
        (solved().problem, _options(epochs=6), 4),
        (solved().problem, _options(epochs=5, lambda_l0=0.1), 4),
        (solved().problem, _options(epochs=5), 5),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(
    problem: CalibrationProblem, options: CalibrationHyperparameters, seed: int, tmp_path: Path
) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    run(solved().problem, _options(epochs=5), RunContext(seed=4, checkpoints=policy))
    with pytest.raises(CheckpointIncompatible):
        run(problem, options, RunContext(seed=seed, resume_from=policy.path))


@pytest.mark.parametrize("name", ["closed", "adam_first", "lambda_l0"])
def test_a_checkpoint_that_lacks_a_part_of_the_state_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    policy = CheckpointPolicy(folder=tmp_path)
    run(solved().problem, _options(epochs=5), RunContext(seed=4, checkpoints=policy))
    with safe_open(policy.path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(policy.path)
    del tensors[name]
    save_file(tensors, policy.path, metadata=header)
    with pytest.raises(CheckpointIncompatible, match=f"holds no {name}"):
        run(solved().problem, _options(epochs=5), RunContext(seed=4, resume_from=policy.path))


@MODES
def test_the_global_generators_are_left_alone(mode: dict[str, Any]) -> None:
    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state(legacy=False)
        return torch.get_rng_state().tolist(), repr(numpy_state), random.getstate()

    before = states()
    run(solved().problem, _options(epochs=5, log_weight_jitter_sd=0.1, **mode), RunContext(seed=4))
    assert states() == before


# What it reports, and how it ends.


def test_the_logged_epochs_run_from_the_start_to_the_end() -> None:
    reports: list[EpochReport] = []
    context = RunContext(log_every=7, report=reports.append)  # type: ignore[arg-type]  # a selection only reports epochs
    _select(solved().problem, _options(epochs=20), context)
    assert [r.epoch for r in reports] == [0, 7, 14, 20]
    assert {r.epochs for r in reports} == {20}


def test_the_curves_reported_are_the_curves_declared() -> None:
    from l0core.calibration import KIND

    assert set(_first_step(solved().problem, _options()).reported) == set(KIND.curves)


def test_the_reported_errors_are_those_of_the_deterministic_weights() -> None:
    problem = arbitrary(3)
    options = _options(init_keep_prob=0.6, log_alpha_jitter_sd=1.0)
    objective, step = prepare(problem, options), _first_step(problem, options)
    shape = hc.GateShape(beta=options.beta)
    gates = hc.deterministic_gate(torch.tensor(step.log_alpha), shape).numpy()
    weights = objective.dense(np.exp(step.log_weight) * gates)
    errors = np.abs(problem.relative_errors(problem.estimates(weights)))[~problem.holdout]
    reported = step.reported
    assert reported["active"] == (gates > 0).sum()
    assert reported["mean_abs_relative_error"] == pytest.approx(errors.mean(), rel=1e-5)
    assert reported["median_abs_relative_error"] == pytest.approx(np.median(errors), rel=1e-4)
    assert reported["max_abs_relative_error"] == pytest.approx(errors.max(), rel=1e-5)


def test_the_settings_of_an_epoch_are_reported() -> None:
    reported = _first_step(solved().problem, _options(lambda_l0=0.03, beta=0.5, learning_rate=0.2)).reported
    assert (reported["lambda_l0"], reported["temperature"], reported["learning_rate"]) == (0.03, 0.5, 0.2)


def test_with_a_budget_the_price_moves_until_about_that_many_gates_are_open() -> None:
    _, history = _selected(solved().problem, _options(epochs=400, record_budget=15), RunContext(seed=4))
    assert 8 < history.metrics["expected_l0"][-1] < 30
    assert len(set(history.metrics["lambda_l0"])) > 10


def test_without_a_budget_the_price_stays() -> None:
    _, history = _selected(solved().problem, _options(epochs=20, lambda_l0=0.02), RunContext(seed=4))
    assert set(history.metrics["lambda_l0"]) == {0.02}


@pytest.mark.parametrize(
    ("schedule", "rates"), [("constant", [0.2, 0.2, 0.2]), ("cosine", [0.2, 0.1, 0.0])], ids=["constant", "cosine"]
)
def test_the_learning_rate_follows_its_schedule(schedule: str, rates: list[float]) -> None:
    reports: list[EpochReport] = []
    context = RunContext(log_every=5, report=reports.append)  # type: ignore[arg-type]  # a selection only reports epochs
    _select(solved().problem, _options(epochs=10, learning_rate=0.2, learning_rate_schedule=schedule), context)
    assert [r.metrics["learning_rate"] for r in reports] == pytest.approx(rates)


def test_the_start_is_the_design_weights_and_the_keep_probability() -> None:
    problem = arbitrary(2)
    options = _options(init_keep_prob=0.7, log_alpha_jitter_sd=0.0)
    step = _first_step(problem, options)
    np.testing.assert_allclose(np.exp(step.log_weight), prepare(problem, options).prior, rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-step.log_alpha)), 0.7, rtol=1e-6)


def test_the_jitter_of_the_start_has_the_spread_asked_for() -> None:
    problem = solved(n_units=4000).problem
    options = _options(log_weight_jitter_sd=0.3, log_alpha_jitter_sd=0.05)
    step = _first_step(problem, options)
    assert np.std(step.log_weight - np.log(problem.design_weights)) == pytest.approx(0.3, rel=0.05)
    assert np.std(step.log_alpha) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_learning_rate_that_diverges_is_a_typed_error_with_its_epoch(gradient: str) -> None:
    reports: list[EpochReport] = []
    context = RunContext(log_every=1, report=reports.append)  # type: ignore[arg-type]  # a selection only reports epochs
    with pytest.raises(Diverged, match=r"after \d+ epochs .*: lower learning_rate \(now 5\)") as caught:
        _select(explosive(), _options(epochs=100, learning_rate=5.0, lambda_l0=1e-3, gradient=gradient), context)
    assert caught.value.epoch == len(reports) > 0
    assert all(np.isfinite(list(r.metrics.values())).all() for r in reports)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_divergence_between_two_logged_epochs_is_the_same_typed_error(gradient: str) -> None:
    with pytest.raises(Diverged):
        _select(
            explosive(),
            _options(epochs=100, learning_rate=5.0, lambda_l0=1e-3, gradient=gradient),
            RunContext(log_every=50),
        )


def test_the_last_checkpoint_of_a_diverged_run_is_still_of_numbers(tmp_path: Path) -> None:
    problem = explosive()
    options = _options(epochs=100, learning_rate=5.0, lambda_l0=1e-3, gradient="sampled")
    context = RunContext(log_every=50, checkpoints=CheckpointPolicy(folder=tmp_path, every_epochs=1))
    with pytest.raises(Diverged):
        _select(problem, options, context)
    _, held, _ = checkpoint.read(tmp_path / "checkpoint.safetensors", _identity(problem, options, context))
    assert bool(torch.isfinite(held["log_weight"]).all())


def test_the_price_of_a_unit_acts_however_small_it_is() -> None:
    """Unit 1 adds nothing to speak of; a lambda of 1e-9 is enough to close its gate."""
    problem = CalibrationProblem.build([[1.0, 1e-12]], [1.0])
    options = _options(epochs=300, lambda_l0=1e-9, init_keep_prob=0.5, log_alpha_jitter_sd=0.0)
    selection = _select(problem, options, RunContext())
    assert isinstance(selection, Selection)
    assert selection.gates[0] > 0
    assert selection.gates[1] == 0


def test_a_useful_unit_is_one_whose_weight_moves_the_targets() -> None:
    problem = CalibrationProblem.build([[1.0, 1.0, 0.001]], [10.0], initial_weights=[5.0, 0.5, 5.0])
    selection = _select(problem, _options(epochs=1, learning_rate=1e-6, lambda_l0=0.0), RunContext())
    assert isinstance(selection, Selection)
    np.testing.assert_allclose(selection.weights, [5.0, 0.5, 5.0], rtol=1e-4)
    np.testing.assert_allclose(selection.usefulness, selection.gates * selection.weights * [0.1, 0.1, 1e-4], rtol=1e-5)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("price", [0.0, 0.5, 3.0])
def test_the_price_of_uneven_weights_pulls_to_the_weight_the_square_s_minimum_has(price: float, gradient: str) -> None:
    """Two targets of 4, each one unit of design weight 2: (w - 4)^2 / 16 + price (w / 2)^2 / 2 for each."""
    problem = CalibrationProblem.build(np.eye(2), [4.0, 4.0], initial_weights=[2.0, 2.0])
    selection = _select(
        problem,
        _options(epochs=400, lambda_l0=0.0, lambda_spread=price, init_keep_prob=0.9999, gradient=gradient),
        RunContext(),
    )
    assert isinstance(selection, Selection)
    np.testing.assert_allclose(selection.weights * selection.gates, 4 / (1 + 2 * price), rtol=0.03)


def test_a_price_of_uneven_weights_keeps_them_nearer_to_the_design_weights() -> None:
    problem, largest = conflicting(), []
    for price in (0.0, 0.3, 30.0):
        selection = _select(problem, _options(epochs=300, lambda_l0=1e-4, lambda_spread=price), RunContext(seed=2))
        assert isinstance(selection, Selection)
        largest.append(float(((selection.weights * selection.gates / problem.design_weights) ** 2).mean()))
    assert largest == sorted(largest, reverse=True)
    assert largest[2] < 0.5 * largest[0]
