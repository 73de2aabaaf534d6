"""The log of a job as text: a line an event, never two lines of one, and it can be followed."""

import json

from service.jobs import log_lines
from service.jobs.values import Batch, EventNote
from tests.service.api.door import Door
from tests.service.api.endings import claimed, told


def test_every_event_is_one_line_with_its_data(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    held = claimed(inside.system, job["id"])
    told(inside.system, held, Batch(events=[EventNote(type="finding", message="two\nlines\r", data={"a": "b\n"})]))
    reply = inside.http.get(f"/v1/jobs/{job['id']}/log")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = reply.text.splitlines()
    assert [line.split()[1] for line in lines] == ["submitted:", "started:", "finding:"]
    assert lines[-1].endswith('finding: two lines {"a": "b\\n"}')
    assert json.loads(lines[1][lines[1].index("{") :])["attempt"] == 1


def test_it_is_followed_from_where_one_has_read(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    url = f"/v1/jobs/{job['id']}/log"
    first = inside.http.get(url)
    offset = first.headers["L0-Next-Offset"]
    assert (first.text.count("\n"), offset) == (1, "1")
    nothing = inside.http.get(url, params={"offset": offset})
    assert (nothing.text, nothing.headers["L0-Next-Offset"]) == ("", "1")
    claimed(inside.system, job["id"])
    rest = inside.http.get(url, params={"offset": offset})
    assert rest.text.count("\n") == 1
    assert inside.http.get(url).text == first.text + rest.text


def test_a_long_log_is_read_in_parts(inside: Door) -> None:
    job = inside.job(inside.listed_problem())
    held = claimed(inside.system, job["id"])
    count = log_lines._EVENTS_A_READ + 5
    told(inside.system, held, Batch(events=[EventNote(type="note", message=str(i)) for i in range(count)]))
    lines = inside.http.get(f"/v1/jobs/{job['id']}/log").text.splitlines()
    assert [line.split()[-1] for line in lines[2:]] == [str(i) for i in range(count)]
