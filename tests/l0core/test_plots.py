"""Pictures: well-formed whatever they are given, honest about what they leave out, readable by anybody."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0core.plots import DARK, LIGHT, MOST_ROWS, NARROW, WIDE, Curve, Layout, Pair, Theme, dumbbell_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert(1)</script>\x00\x1b\ud800\ufffe\u202e]]>&amp;\"'"

anything = st.floats(width=64)
names = st.text(min_size=1, max_size=60)
pairs = st.builds(Pair, name=names, before=anything, after=anything, held_out=st.booleans())
logged = st.lists(st.tuples(st.integers(0, 10_000_000), anything), max_size=20, unique_by=lambda point: point[0])


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    points = sorted(draw(logged))
    return Curve(name=draw(names), steps=[step for step, _ in points], values=[value for _, value in points])


def picture(svg: str) -> ET.Element:
    """Parse, having checked that every number drawn is finite and every mark is inside the picture."""
    root = ET.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for x, y in places(root):
        assert -0.1 <= x <= width + 0.1
        assert -0.1 <= y <= height + 0.1
    return root


def places(root: ET.Element) -> Iterator[tuple[float, float]]:
    for element in root.iter():
        for x, y in (("x", "y"), ("cx", "cy")):
            if x in element.attrib:
                yield float(element.attrib[x]), float(element.attrib[y])
        for point in re.split("[ML]", element.attrib.get("d", ""))[1:]:
            x_text, y_text = point.split()
            yield float(x_text), float(y_text)


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def dots(root: ET.Element, colour: str) -> list[float]:
    """Where the marks of the rows are; the first of a colour is the legend's."""
    found = [e for e in root.iter(f"{SVG}circle") if colour in e.attrib["class"].split()]
    return [float(e.attrib["cx"]) for e in found[1:]]


def zero_line(root: ET.Element) -> float:
    line = next(e for e in root.iter(f"{SVG}path") if e.attrib["class"] == "axis")
    return float(line.attrib["d"].removeprefix("M").split()[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, max_size=40), st.sampled_from([WIDE, NARROW]), names)
def test_any_pairs_give_a_well_formed_picture_of_finite_numbers(rows: list[Pair], layout: Layout, title: str) -> None:
    root = picture(dumbbell_chart(rows, title=title, note=title, layout=layout))
    assert len(dots(root, "c0")) == sum(math.isfinite(row.after) for row in sorted_worst(rows))


def sorted_worst(rows: list[Pair]) -> list[Pair]:
    return sorted(rows, key=lambda row: row.worst, reverse=True)[:MOST_ROWS]


@settings(max_examples=60, deadline=None)
@given(st.lists(curves(), max_size=4), names)
def test_any_curves_give_a_well_formed_picture_of_finite_numbers(lines: list[Curve], title: str) -> None:
    picture(line_chart(lines, title=title))


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_a_log_axis_has_two_to_six_labels(low: float, high: float) -> None:
    root = picture(line_chart([Curve(name="loss", steps=[1, 2], values=[low, high])], title=""))
    ends = [e for e in root.iter(f"{SVG}text") if e.attrib["class"] == "end quiet"]
    assert 2 <= len(ends) <= 6


@settings(max_examples=60, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_larger_error_never_stands_left_of_a_smaller_one(one: float, other: float) -> None:
    root = picture(dumbbell_chart([Pair(name="a", before=min(one, other), after=max(one, other))], title=""))
    assert dots(root, "c1") <= dots(root, "c0")


@pytest.mark.parametrize("svg", [dumbbell_chart([], title="none"), line_chart([], title="none")])
def test_nothing_to_draw_is_still_a_picture(svg: str) -> None:
    assert picture(svg).findtext(f"{SVG}title") == "none"


def test_a_hostile_name_is_text_and_never_markup() -> None:
    row, curve = Pair(name=HOSTILE, before=1, after=0), Curve(name=HOSTILE, steps=[1], values=[1])
    for svg in (dumbbell_chart([row], title=HOSTILE, note=HOSTILE), line_chart([curve], title=HOSTILE)):
        root = picture(svg)
        assert not list(root.iter(f"{SVG}script"))
        assert "<script" not in svg
        assert "<script>" in (root.findtext(f"{SVG}title") or "")


def test_a_long_name_keeps_both_ends() -> None:
    root = picture(dumbbell_chart([Pair(name=f"first{'x' * 990}final", before=1, after=0)], title=""))
    (shown,) = [text for text in texts(root) if text.startswith("first")]
    assert shown.endswith("final")
    assert len(shown) == WIDE.name_length


def test_of_many_targets_the_worst_are_shown_and_the_picture_says_so() -> None:
    rows = [Pair(name=f"t{i}", before=i / 37_000, after=0) for i in range(37_000)]
    shown = texts(picture(dumbbell_chart(rows, title="", note="note")))
    assert "note; the worst 30 of 37,000 targets" in shown
    assert [text for text in shown if text.startswith("t")] == [f"t{36_999 - i}" for i in range(MOST_ROWS)]


def test_a_target_that_became_bad_counts_among_the_worst() -> None:
    rows = [Pair(name="small", before=0.1, after=0), Pair(name="worse", before=0, after=0.5)]
    shown = texts(picture(dumbbell_chart(rows, title="")))
    assert shown.index("worse") < shown.index("small")


def test_an_error_of_zero_lies_on_the_zero_line() -> None:
    root = picture(dumbbell_chart([Pair(name="a", before=0.5, after=0)], title=""))
    assert dots(root, "c0") == [zero_line(root)]


def test_all_zero_errors_lie_on_the_zero_line() -> None:
    root = picture(dumbbell_chart([Pair(name="a", before=0, after=-0.0)], title=""))
    assert dots(root, "c0") == dots(root, "c1") == [zero_line(root)]
    assert texts(root).count("0 %") == 2


def test_a_large_and_a_tiny_error_can_both_be_read() -> None:
    shown = texts(picture(dumbbell_chart([Pair(name="a", before=0.58, after=0.000001)], title="")))
    assert {"+58.0 %", "+0.000100 %", "10 %", "1 %", "0"} <= set(shown)


def test_an_error_that_is_no_number_is_said_and_not_drawn() -> None:
    root = picture(dumbbell_chart([Pair(name="a", before=0.1, after=math.nan)], title=""))
    assert "no number" in texts(root)
    assert not dots(root, "c0")


def test_labels_beside_zero_have_room_or_are_left_out() -> None:
    """Over fourteen decades, 1 % lies two pixels from 0."""
    root = picture(dumbbell_chart([Pair(name="a", before=1e11, after=-1e11)], title="", layout=NARROW))
    labels = sorted(float(e.attrib["x"]) for e in root.iter(f"{SVG}text") if e.attrib["class"] == "mid quiet")
    assert min(right - left for left, right in pairwise(labels)) >= 25


def test_a_held_out_target_is_marked() -> None:
    root = picture(dumbbell_chart([Pair(name="a", before=0.1, after=0, held_out=True)], title=""))
    assert "a (held out)" in texts(root)


def test_a_constant_series_has_labels_above_and_below() -> None:
    shown = texts(picture(line_chart([Curve(name="units", steps=[1, 2, 3], values=[400, 400, 400])], title="")))
    assert {"350", "400", "450"} <= set(shown)


def test_a_single_epoch_is_a_dot() -> None:
    root = picture(line_chart([Curve(name="loss", steps=[7], values=[0.1])], title=""))
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert "7" in texts(root)


def test_values_not_above_zero_are_left_out_and_counted() -> None:
    values = [1.0, 0.0, -1.0, math.nan, math.inf, 2.0]
    root = picture(line_chart([Curve(name="units", steps=range(6), values=values)], title=""))
    assert "epoch (4 values not above 0 left out)" in texts(root)
    assert len(list(root.iter(f"{SVG}circle"))) == 2


def test_a_series_of_zeros_has_no_axes_and_says_why() -> None:
    shown = texts(picture(line_chart([Curve(name="units", steps=[1, 2], values=[0.0, 0.0])], title="Units")))
    assert shown == ["Units", "units", "nothing above 0 to draw"]


def test_a_curve_of_many_epochs_keeps_its_last_value_and_stays_small() -> None:
    n = 100_001
    svg = line_chart([Curve(name="loss", steps=range(n), values=[1.0] * (n - 1) + [1e-9])], title="")
    assert len(svg) < 20_000
    assert "10⁻⁸" in texts(picture(svg))


@pytest.mark.parametrize(
    "svg",
    [
        dumbbell_chart([Pair(name="a", before=1, after=0)], title="Errors"),
        line_chart([Curve(name="loss", steps=[1, 2], values=[2.0, 1.0])], title="Loss"),
    ],
)
def test_a_picture_names_itself_fits_both_schemes_and_loads_nothing(svg: str) -> None:
    root = picture(svg)
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"href|url\(|@import|<image|<script|\son\w+=|style=", svg)
    assert svg.count("http") == 1  # the namespace


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_and_marks_stand_out_from_their_paper(theme: Theme) -> None:
    def contrast(colour: str) -> float:
        low, high = sorted((luminance(colour), luminance(theme.paper)))
        return (high + 0.05) / (low + 0.05)

    assert contrast(theme.ink) >= 7
    assert min(map(contrast, theme.series)) >= 3
