"""The parts of a page: nothing from outside becomes markup, and numbers are readable."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0core.markup import first_of, number, page, section, table


class _Text(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_text_becomes_an_element(name: str) -> None:
    shown = _Text(section(name, table(name, [name], [(name, name)])))
    assert shown.tags == {"section", "h2", "div", "table", "caption", "thead", "tr", "th", "tbody", "bdi", "td"}
    assert shown.text == 5 * name


def test_a_page_is_titled_by_its_text() -> None:
    assert f"<title>{html.escape('<a & b>')}</title>" in page("<a & b>", "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-1234.56, "−1,235"), (0.5, "0.5"), (1e-9, "10⁻⁹"), (float("nan"), "–"), (None, "–")],
)
def test_a_number_is_written_as_a_reader_writes_it(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_table_that_is_cut_says_where_the_rest_is() -> None:
    assert first_of("Worst first", 3, 3, "all.csv") == "Worst first"
    assert first_of("Worst first", 3, 4000, "all.csv") == "Worst first: 3 of 4,000; all are in all.csv"
