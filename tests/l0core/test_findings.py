"""Findings as data: a long list in short, numbers in sentences, and a page that knows every code."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.findings import Finding, in_short, shown
from l0core.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")


def _finding(code: str, index: int = 0) -> Finding:
    return Finding(code=code, severity="warning", index=index, message="...")


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=100))
def test_a_short_list_is_given_whole_by_code(codes: list[str]) -> None:
    findings = [_finding(code, index) for index, code in enumerate(codes)]
    assert sorted(in_short(findings), key=lambda f: f.index or 0) == findings
    assert [f.code for f in in_short(findings)] == sorted(codes, key=codes.index)


def test_of_a_long_list_the_rest_is_counted_code_by_code() -> None:
    findings = [_finding("many", index) for index in range(250)] + [_finding("one")]
    short = in_short(findings)
    assert short[:100] == findings[:100]
    assert (short[100].code, short[100].severity, short[100].value) == ("many", "warning", 150)
    assert short[101:] == [findings[-1]]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e-7, "1e-07"),
        (999.9994, "999.999"),
        (1000.0, "1,000"),
        (-4464286.3, "-4,464,286"),
        (1e15, "1e+15"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_is_shown_so_that_it_can_be_read(number: float, text: str) -> None:
    assert shown(number) == text


def test_the_page_names_every_code_there_is_and_no_other() -> None:
    code = re.compile(r'(?:code=|_warning\(\s*|_finding\(problem, pair, |CODE = )"([a-z_]+)"')
    kinds = [file for kind in KINDS for file in (ROOT / "l0core" / kind).glob("*.py")]
    sources = [*kinds, ROOT / "l0core/matrices.py", ROOT / "l0core/continuing.py", ROOT / "worker/child.py"]
    known = {found for path in sources for found in code.findall(path.read_text(encoding="utf-8"))}
    assert set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)) == known
