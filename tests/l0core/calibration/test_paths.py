"""Several prices at once are several runs, on one reading of the matrix."""

from typing import Any

import numpy as np
import pytest

from l0core.calibration import path
from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.run import run
from l0core.context import RunContext
from l0core.errors import InvalidHyperparameter
from tests.problems import conflicting, solved

PRICES = [3e-2, 0.0, 0.3]


@pytest.mark.parametrize("gradient", ["expected", "sampled"])
@pytest.mark.parametrize(
    "settings",
    [
        {"refit": False},
        {"refit": True},
        {"temperature_schedule": "linear", "lambda_spread": 0.1},
        {"loss": "absolute_relative"},
    ],
)
def test_each_price_gets_what_a_run_of_its_own_gives(gradient: Any, settings: dict[str, Any]) -> None:
    """Bit for bit: 29 epochs are too few for a unit to be removed in the run."""
    problem = conflicting()
    options = CalibrationHyperparameters(epochs=29, learning_rate=0.2, gradient=gradient, **settings)
    found = path(problem, PRICES, options, seed=4)
    for price, result in zip(PRICES, found, strict=True):
        alone = run(problem, options.model_copy(update={"lambda_l0": price}), RunContext(seed=4))
        assert (result.weights == alone.weights).all()  # type: ignore[union-attr]  # nobody stops it
        assert result.options.lambda_l0 == price
        assert result.history.steps == alone.history.steps  # type: ignore[union-attr]
        assert result.history.metrics["loss"] == alone.history.metrics["loss"]  # type: ignore[union-attr]
        assert result.identity == alone.identity  # type: ignore[union-attr]


def test_a_higher_price_keeps_fewer_units() -> None:
    prices = [0.0, 1e-3, 1e-2, 0.1, 1.0]
    results = path(solved().problem, prices, CalibrationHyperparameters(epochs=150, learning_rate=0.2, refit=False))
    counts = [result.summary["n_active"] for result in results]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert np.isfinite([result.loss for result in results]).all()


@pytest.mark.parametrize(
    ("lambdas", "pointer"),
    [([], "/lambdas"), ([0.1, -1.0], "/lambdas[1]"), ([float("nan")], "/lambdas[0]"), (["cheap"], "/lambdas[0]")],
)
def test_prices_that_are_none_are_refused_by_their_place(lambdas: Any, pointer: str) -> None:
    with pytest.raises(InvalidHyperparameter) as caught:
        path(solved().problem, lambdas)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("control", [{"lambda_l0": 0.1}, {"lambda_share": 0.1}, {"record_budget": 3}])
def test_another_control_of_the_size_is_refused(control: dict[str, Any]) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"{next(iter(control))} is given beside lambdas"):
        path(solved().problem, PRICES, CalibrationHyperparameters(**control))


def test_early_stopping_is_refused_rather_than_ignored() -> None:
    with pytest.raises(InvalidHyperparameter, match="early_stopping is true"):
        path(solved().problem, PRICES, CalibrationHyperparameters(early_stopping=True))


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    options = CalibrationHyperparameters(epochs=3, refit=False)
    path(solved().problem, PRICES, options)
    assert capsys.readouterr().err == ""
    path(solved().problem, PRICES, options, verbose=True)
    shown = capsys.readouterr().err
    assert "path" in shown
    assert "3/3" in shown
