"""What is printed: a row is a line where nobody looks, a text is shown as it is, JSON is JSON."""

import json

import pytest

from l0core import screen
from l0core.screen import Column, left, right, table


def test_a_row_is_a_line_without_colours_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column(heading="a", wraps=True), left("b"), left("c"), right("d")]
    screen.show(table(columns, [["x" * 300, "[bold]y[/bold]", None, "1.5"]]))
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["a", "b", "c", "d"]
    assert row.split() == ["x" * 300, "[bold]y[/bold]", "-", "1.5"]


def test_a_number_that_is_none_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_json({"loss": float("nan"), "of": [float("inf"), 1]})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "of": [None, 1]}


def test_a_line_of_a_stream_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_json({"a": "one\ntwo"}, as_line=True)
    assert capsys.readouterr().out == '{"a": "one\\ntwo"}\n'


def test_a_failure_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        screen.fail("[x] is wrong\x1b[2J; " + "long " * 50, 4)
    assert ended.value.code == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: [x] is wrong?[2J; long long")
    assert said.err.count("\n") == 1
