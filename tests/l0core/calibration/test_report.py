"""The report: whole, safe with any name, honest about what it leaves out, whatever the result."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.sparse as sp

from l0core.calibration.options import CalibrationHyperparameters
from l0core.calibration.problem import CalibrationProblem
from l0core.calibration.report import MOST_TARGETS, before_after_svg, report_html
from l0core.calibration.result import CalibrationResult
from l0core.calibration.run import run
from l0core.checkpoint import Identity
from l0core.context import RunContext
from l0core.findings import Finding
from l0core.history import History

NAMES = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'&amp;</title></svg>", "unreachable")
VOID = {"meta"}


class Page(HTMLParser):
    """The elements of a page, in order: (tag, attributes), and the text of the cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def made(problem: CalibrationProblem, weights: object = None, history: History | None = None) -> CalibrationResult:
    """A result without a run."""
    options = CalibrationHyperparameters()
    return CalibrationResult(
        problem=problem,
        options=options,
        identity=Identity(problem_sha256="0" * 64, hyperparameters=options.model_dump(), seed=5),
        weights=np.ones(problem.n_units) if weights is None else np.asarray(weights, dtype=np.float64),
        history=history or History(steps=[1], metrics={"loss": [0.5], "data_loss": [0.0], "active": [2.0]}),
        loss=0.25,
        selection_loss=0.5,
        checkpoint=None,
        parts=np.zeros(problem.n_targets),
        omega_total=float(problem.n_targets),
    )


@pytest.fixture(scope="module")
def result() -> CalibrationResult:
    """A real run: hostile names, one target held out, one that no unit reaches."""
    matrix = np.vstack([np.ones(6), np.arange(6.0), [0, 1, 0, 1, 0, 1], np.zeros(6)])
    problem = CalibrationProblem.build(
        matrix,
        [12.0, 40.0, 5.0, 3.0],
        target_names=NAMES,
        target_tolerances=[0.1, 0.1, 0.1, 0.1],
        holdout=[False, False, True, False],
    )
    found = run(problem, CalibrationHyperparameters(record_budget=3, epochs=30), RunContext(seed=8))
    assert isinstance(found, CalibrationResult)
    return found


@pytest.fixture(scope="module")
def page(result: CalibrationResult) -> Page:
    return Page(report_html(result))


def test_a_page_has_one_title_and_a_heading_for_every_section(page: Page) -> None:
    assert page.count("h1") == 1
    assert page.count("h2") == page.count("section") == 8
    assert "4 targets with 3 of 6 units" in page.text


def test_hostile_names_are_text_and_never_markup(page: Page) -> None:
    assert {"script", "img", "image", "link", "iframe"}.isdisjoint(tag for tag, _ in page.elements)
    assert set(NAMES) <= {row[0].removesuffix(" (held out)") for row in page.rows}


def test_a_page_loads_nothing_and_runs_nothing(page: Page, result: CalibrationResult) -> None:
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert attributes.isdisjoint({"href", "src", "srcset", "xlink:href", "action", "style"})
    assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", report_html(result))


def test_every_table_heading_has_a_scope_and_every_table_scrolls(page: Page) -> None:
    headings = [attrs for tag, attrs in page.elements if tag == "th"]
    assert headings
    assert all(attrs.get("scope") in ("row", "col") for attrs in headings)
    scrolling = [attrs for tag, attrs in page.elements if tag == "div" and attrs.get("class") == "scroll"]
    assert len(scrolling) == page.count("table") == page.count("caption")


def test_the_numbers_are_those_of_the_result(page: Page, result: CalibrationResult) -> None:
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["Problem (sha256)"] == [result.problem.sha256]
    assert rows["Seed"] == ["8"]
    assert rows["Units above 0"] == ["6", "3"]
    assert rows["unreachable"] == ["3", "0", "0", "−100 %", "−100 %"]
    assert rows["record_budget"] == ["3", "–"]
    assert page.text.count("Within tolerance") == 2


def test_targets_are_listed_worst_first(page: Page) -> None:
    headings = [i for i, row in enumerate(page.rows) if row[0] == "Target"]
    listed = [row[0] for row in page.rows[headings[-1] + 1 :][:4]]
    assert {name.removesuffix(" (held out)") for name in listed} == set(NAMES)
    assert listed[0] == "unreachable"


def test_a_held_out_target_is_marked_and_measured_apart(page: Page) -> None:
    assert f"{NAMES[2]} (held out)" in [row[0] for row in page.rows]
    assert "Held-out targets" in page.text
    assert next(r for r in page.rows[::-1] if r[0] == "Within 10 %")[:2] == ["Within 10 %", "0 of 1"]


def test_findings_are_shown_only_where_there_are_some(page: Page) -> None:
    assert "no_support" in page.text
    assert "Findings" not in Page(report_html(made(CalibrationProblem.build([[1.0, 1.0]], [2.0])))).text


def test_errors_come_first_among_the_findings_of_problem_and_run(result: CalibrationResult) -> None:
    found = tuple(
        Finding(code=f"a_{severity}", severity=severity, message="<b>") for severity in ("info", "error", "warning")
    )
    shown = Page(report_html(dataclasses.replace(result, findings=found)))
    levels = [row[0] for row in shown.rows if row[0] in ("error", "warning", "info")]
    assert levels == sorted(levels, key=("error", "warning", "info").index)
    assert {"a_info", "a_error", "a_warning"} <= {row[1] for row in shown.rows if len(row) > 1}


def test_settings_that_were_made_come_first(page: Page) -> None:
    names = [row[0] for row in page.rows]
    assert set(names[names.index("Name") + 1 :][:2]) == {"record_budget", "epochs"}


def test_one_target_met_from_the_start_and_one_logged_epoch_make_a_page() -> None:
    shown = Page(report_html(made(CalibrationProblem.build([[1.0, 1.0]], [2.0]))))
    assert ["target_0", "2", "2", "2", "0 %", "0 %"] in shown.rows
    assert "nan" not in shown.text.lower()


def test_weights_that_are_all_zero_make_a_page() -> None:
    shown = Page(report_html(made(CalibrationProblem.build([[1.0, 1.0]], [2.0]), weights=[0, 0])))
    assert ["target_0", "2", "2", "0", "0 %", "−100 %"] in shown.rows
    assert ["Design effect", "1", "–"] in shown.rows
    assert ["G-weight, median", "–", "–"] in shown.rows


@pytest.mark.parametrize("size", [1e-200, 1e-9, 1e9, 1e140])
def test_targets_of_any_size_make_a_page(size: float) -> None:
    problem = CalibrationProblem.build([[1.0, 1.0], [1.0, -1.0]], [size, -size])
    metrics = {"loss": [size, size], "max_abs_relative_error": [size, 0.0]}
    shown = Page(report_html(made(problem, history=History(steps=[1, 2], metrics=metrics))))
    assert not re.search(r"\b(nan|inf)\b", shown.text)


def test_of_37000_targets_the_worst_are_listed_and_the_page_says_so() -> None:
    n = 37_000
    matrix = sp.csr_array((np.ones(n), (np.arange(n), np.arange(n) % 50)), shape=(n, 50))
    html = report_html(made(CalibrationProblem.build(matrix, np.linspace(0.5, 2, n))))
    shown = Page(html)
    assert f"Worst first: {MOST_TARGETS} of 37,000; all are in unified_diagnostics.csv" in shown.text
    assert sum(row[0].startswith("target_") for row in shown.rows) == MOST_TARGETS
    assert len(html) < 500_000


def test_a_page_without_refit_does_not_speak_of_one(result: CalibrationResult) -> None:
    options = CalibrationHyperparameters(refit=False)
    assert "refit then" in report_html(result)
    assert "refit then" not in report_html(dataclasses.replace(result, options=options))


def test_the_same_result_gives_the_same_page(result: CalibrationResult) -> None:
    assert report_html(result) == report_html(dataclasses.replace(result))


def test_the_picture_is_an_svg_of_its_own_with_every_target(result: CalibrationResult) -> None:
    root = ET.fromstring(before_after_svg(result))
    shown = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "3 of 6 units kept" in shown
    assert "unreachable" in shown
