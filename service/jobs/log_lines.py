"""The log of one job as text: a line an event, so that a line's number is its event's."""

import json
from collections.abc import Iterator

from service.db.session import Database
from service.jobs import traces
from service.jobs.models import Event

_EVENTS_A_READ = 500


def lines(database: Database, job_id: str, after: int, last: int) -> Iterator[str]:
    """Give the lines after the first `after`, up to line `last`."""
    while after < last:
        with database.reading() as session:
            events = traces.events_after(session, job_id, after, min(_EVENTS_A_READ, last - after))
        if not events:
            return
        yield "".join(map(_line, events))
        after = events[-1].seq


def _line(event: Event) -> str:
    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = " ".join(event.message.splitlines())
    more = f" {json.dumps(event.data)}" if event.data else ""
    return f"{at} {event.type}: {message}{more}\n"
