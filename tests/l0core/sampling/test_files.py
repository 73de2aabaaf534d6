"""The files of a sampling: whole, as declared, readable without pickle, and a page that is safe with any name."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from l0core.context import CheckpointPolicy, RunContext
from l0core.sampling.declaration import KIND
from l0core.sampling.result import FeaturesResult, SampleResult
from tests.l0core.sampling.made import explained, of_units, sampled

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'&amp;</title>", "=1+1", "plain"]
TABLE = KIND.tables["selection"]
MODES = ["samples", "hybrid", "features"]
ROWS_OF_THE_SERVICE = {
    "index", "name", "value", "initial_estimate", "estimate", "relative_error", "abs_relative_error", "group",
    "holdout", "price",
}  # fmt: skip


def made(mode: str, folder: Path) -> SampleResult | FeaturesResult:
    problem = of_units(column_names=HOSTILE, outcome=np.arange(200.0))
    context = RunContext(seed=1, checkpoints=CheckpointPolicy(folder=folder))
    if mode == "features":
        return explained(problem, context, count=3, comparisons=2)
    return sampled(problem, context, mode=mode, count=40, comparisons=2)


@pytest.mark.parametrize("mode", MODES)
def test_the_files_are_those_declared_and_whole(mode: str, tmp_path: Path) -> None:
    result = made(mode, tmp_path / "run")
    files = {artifact.name: artifact.path for artifact in result.write(tmp_path / "out")}
    absent = {
        "samples": {"coefficients.npy", "horvitz_thompson_weights.npy"},
        "hybrid": {"coefficients.npy"},
        "features": {"sampling_weights.npy", "horvitz_thompson_weights.npy"},
    }
    assert set(files) == set(KIND.artifacts) - absent[mode]
    selection = np.load(files["selection.npy"], allow_pickle=False)
    assert tuple(selection.dtype.names) == tuple(TABLE.columns)
    assert [selection.dtype[name].str for name in TABLE.columns] == ["<i8", "<U6", "<f8", "<f8"]
    assert (np.diff(selection["index"]) > 0).all()
    told = json.loads(files["sampling_diagnostics.json"].read_text())
    assert told["summary"]["n_active"] == selection.size
    config = json.loads(files["run_config.json"].read_text())
    assert (config["kind"], config["hyperparameters"]["mode"]) == ("sampling", mode)


@pytest.mark.parametrize("mode", ["samples", "hybrid"])
def test_the_weights_are_those_of_the_table_and_zeros(mode: str, tmp_path: Path) -> None:
    made(mode, tmp_path / "run").write(tmp_path)
    weights = np.load(tmp_path / "sampling_weights.npy", allow_pickle=False)
    selection = np.load(tmp_path / "selection.npy", allow_pickle=False)
    assert (weights.dtype, weights.shape) == (np.float64, (200,))
    np.testing.assert_array_equal(weights[selection["index"]], selection["weight"])
    assert np.count_nonzero(weights) == selection.size == 40


@pytest.mark.parametrize("mode", MODES)
def test_the_summary_holds_numbers_only(mode: str, tmp_path: Path) -> None:
    def numbers(value: object) -> bool:
        if isinstance(value, dict):
            return all(numbers(each) for each in value.values())
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))

    assert numbers(made(mode, tmp_path).summary)


def test_there_is_a_row_a_column_as_the_service_takes_it(tmp_path: Path) -> None:
    rows = list(made("samples", tmp_path).target_rows())
    assert [row["name"] for row in rows] == HOSTILE
    assert set(rows[0]) == ROWS_OF_THE_SERVICE
    assert [row["holdout"] for row in rows] == [False] * 4 + [True]
    assert list(made("features", tmp_path / "f").target_rows()) == []


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("mode", MODES)
def test_the_page_is_whole_loads_nothing_and_is_safe_with_any_name(mode: str, tmp_path: Path) -> None:
    made(mode, tmp_path / "run").write(tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert not re.search(r"url\(|@import", text)
    shown = HOSTILE if mode != "features" else [HOSTILE[i] for i in made(mode, tmp_path / "again").selection["index"]]
    assert all(name in page.text for name in shown)
