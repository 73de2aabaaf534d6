"""`PenaltyTracker`: named series of numbers, as statistics, CSV, data frame or picture."""

import csv
import inspect
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from l0core import L0Gate, PenaltyTracker, compute_l0_penalty
from l0core.errors import InvalidHyperparameter, MissingPackage


def tracked(**series: Sequence[float]) -> PenaltyTracker:
    tracker = PenaltyTracker()
    for name, values in series.items():
        for value in values:
            tracker.log(name, value)
    return tracker


def test_a_series_holds_what_was_logged_in_order() -> None:
    tracker = PenaltyTracker()
    for name, value in (("l0", 3.0), ("l2", 7), ("l0", 1.5)):
        tracker.log(name, value)
    assert tracker.get_history("l0") == [3.0, 1.5]
    assert tracker.get_history("l2") == [7.0]
    assert tracker.get_history("l1") == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_tensor_of_one_number_is_logged_as_that_number(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tracker = tracked(a=[torch.full(shape, 2, dtype=dtype)])  # type: ignore[list-item]  # a tensor for a number
    assert tracker.get_history("a") == [2.0]
    assert type(tracker.get_history("a")[0]) is float


def test_a_penalty_is_logged_as_it_comes_and_keeps_its_gradient() -> None:
    gate, tracker = L0Gate(5), PenaltyTracker()
    penalty = compute_l0_penalty(gate)
    tracker.log("l0", penalty)
    assert tracker.get_history("l0") == [penalty.item()]
    torch.autograd.backward(penalty)
    assert gate.gates.log_alpha.grad is not None


@pytest.mark.parametrize("value", ["many", torch.zeros(2), None])
def test_what_is_no_number_is_refused_and_leaves_no_empty_series(value: Any) -> None:
    tracker = PenaltyTracker()
    with pytest.raises((TypeError, ValueError)):
        tracker.log("a", value)
    assert tracker.history == {}


def test_a_history_is_a_copy() -> None:
    tracker = tracked(a=[1.0])
    tracker.get_history("a").append(9.0)
    assert tracker.get_history("a") == [1.0]
    tracker.get_history("b").append(9.0)
    assert tracker.history == {"a": [1.0]}


def test_the_statistics_of_a_series() -> None:
    stats = tracked(a=[4.0, 1.0, 7.0, 2.0]).get_stats("a")
    assert stats == pytest.approx({"mean": 3.5, "std": math.sqrt(5.25), "min": 1.0, "max": 7.0, "last": 2.0})
    assert all(type(value) is float for value in stats.values())
    assert tracked(a=[3.0]).get_stats("a") == {"mean": 3.0, "std": 0.0, "min": 3.0, "max": 3.0, "last": 3.0}


def test_a_series_that_was_never_logged_has_no_statistics() -> None:
    assert PenaltyTracker().get_stats("a") == {}


def test_a_diverging_loss_can_be_logged() -> None:
    assert math.isnan(tracked(a=[1.0, math.nan]).get_stats("a")["mean"])
    assert tracked(a=[math.inf]).get_stats("a")["max"] == math.inf


def test_after_clear_there_is_nothing() -> None:
    tracker = tracked(a=[1.0], b=[2.0])
    tracker.clear()
    assert tracker.history == {}
    assert tracker.get_history("a") == []
    tracker.log("a", 5.0)
    assert tracker.get_history("a") == [5.0]


def test_two_trackers_share_nothing() -> None:
    assert tracked(a=[1.0]).history != tracked(b=[2.0]).history
    assert PenaltyTracker().history == {}


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("as_text", [True, False])
def test_series_of_different_lengths_are_read_back_from_a_csv(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "series.csv"
    tracked(l0=[1.5, 2.5, 1e-17], l2=[0.1 + 0.2]).save_to_csv(str(path) if as_text else path)
    header, *rows = read(path)
    assert header == ["l0", "l2"]
    assert [row[0] for row in rows] == ["1.5", "2.5", "1e-17"]
    assert [row[1] for row in rows] == [repr(0.1 + 0.2), "", ""]  # every digit, then empty cells


def test_a_name_with_a_comma_a_quote_or_an_umlaut_is_read_back(tmp_path: Path) -> None:
    tracker = PenaltyTracker()
    for name in ("a,b", 'say "l0"', "größe"):
        tracker.log(name, 1.0)
    tracker.save_to_csv(tmp_path / "series.csv")
    assert read(tmp_path / "series.csv")[0] == ["a,b", 'say "l0"', "größe"]


def test_nothing_logged_is_a_file_without_rows(tmp_path: Path) -> None:
    PenaltyTracker().save_to_csv(tmp_path / "series.csv")
    assert [row for row in read(tmp_path / "series.csv") if row] == []


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_extras")
def test_without_pandas_a_data_frame_is_refused_and_the_package_named() -> None:
    with pytest.raises(ImportError, match="pip install pandas") as refusal:
        tracked(a=[1.0]).to_frame()
    assert isinstance(refusal.value, MissingPackage)
    assert refusal.value.package == "pandas"
    assert "PenaltyTracker.to_frame" in str(refusal.value)


@pytest.mark.usefixtures("without_extras")
def test_without_matplotlib_a_picture_is_refused_and_the_package_named(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install matplotlib") as refusal:
        tracked(a=[1.0]).plot_history(save_path=tmp_path / "a.png")
    assert isinstance(refusal.value, MissingPackage)
    assert refusal.value.package == "matplotlib"
    assert not (tmp_path / "a.png").exists()


def test_a_data_frame_has_one_column_a_series(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = ModuleType("pandas")
    pandas.Series, pandas.DataFrame = tuple, dict
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    frame: Any = tracked(a=[1.0, 2.0], b=[3.0]).to_frame()
    assert frame == {"a": (1.0, 2.0), "b": (3.0,)}


class Axis:
    def __init__(self) -> None:
        self.lines: list[list[float]] = []
        self.label = ""

    def plot(self, values: list[float]) -> None:
        self.lines.append(list(values))

    def set(self, *, ylabel: str, xlabel: str) -> None:
        self.label = ylabel
        assert xlabel

    def grid(self, *, alpha: float) -> None:
        assert 0 < alpha <= 1


class Column(list[Axis]):
    """One column of panels, as `subplots(n, squeeze=False)` gives it."""

    def __getitem__(self, key: Any) -> Any:
        rows, column = key
        assert column == 0
        return list(self)[rows]


class Pyplot(ModuleType):
    """A stand-in for matplotlib.pyplot, which writes down what is asked of it."""

    def __init__(self) -> None:
        super().__init__("matplotlib.pyplot")
        self.axes = Column()
        self.events: list[str] = []

    def subplots(self, rows: int, *, squeeze: bool, figsize: tuple[float, float]) -> tuple["Pyplot", Column]:
        assert not squeeze
        assert min(figsize) > 0
        self.axes.extend(Axis() for _ in range(rows))
        return self, self.axes

    def tight_layout(self) -> None:
        self.events.append("tight")

    def savefig(self, path: str | Path) -> None:
        self.events.append(f"saved {path}")

    def close(self, figure: object) -> None:
        assert figure is self
        self.events.append("closed")

    def show(self) -> None:
        self.events.append("shown")


@pytest.fixture
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Pyplot:
    stand_in = Pyplot()
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", stand_in)
    return stand_in


def panels(pyplot: Pyplot) -> dict[str, list[list[float]]]:
    return {axis.label: axis.lines for axis in list.__iter__(pyplot.axes)}


def test_every_series_has_a_panel_and_the_figure_is_saved_and_closed(pyplot: Pyplot) -> None:
    tracked(a=[1.0, 2.0], b=[3.0]).plot_history(save_path="out.png")
    assert panels(pyplot) == {"a": [[1.0, 2.0]], "b": [[3.0]]}
    assert pyplot.events == ["tight", "saved out.png", "closed"]


def test_only_the_series_asked_for_are_drawn_in_their_order_and_shown(pyplot: Pyplot) -> None:
    tracked(a=[1.0], b=[2.0], c=[3.0]).plot_history(["c", "a"])
    assert list(panels(pyplot)) == ["c", "a"]
    assert pyplot.events == ["tight", "shown"]


def test_nothing_logged_is_an_empty_picture(pyplot: Pyplot) -> None:
    PenaltyTracker().plot_history()
    assert panels(pyplot) == {"": []}


def test_a_series_never_logged_is_refused_and_the_known_ones_are_named(pyplot: Pyplot) -> None:
    with pytest.raises(InvalidHyperparameter, match="metrics names 'l1'; logged so far: 'l0', 'l2'") as refusal:
        tracked(l0=[1.0], l2=[2.0]).plot_history(["l0", "l1"])
    assert refusal.value.pointer == "/metrics"
    with pytest.raises(InvalidHyperparameter, match="logged so far: nothing"):
        PenaltyTracker().plot_history(["l0"])
    assert pyplot.events == []


def test_the_signature_of_the_picture_is_the_known_one() -> None:
    parameters = inspect.signature(PenaltyTracker.plot_history).parameters
    assert {name: p.default for name, p in parameters.items() if name != "self"} == {"metrics": None, "save_path": None}
