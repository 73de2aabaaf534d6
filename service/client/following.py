"""Events of a job as they happen: server-sent events, taken up after the last one that arrived."""

import json
from collections.abc import Iterator

import httpx

from service.client.calls import JsonObject
from service.client.reading import Place, Reading

_END = "end"


class Following(Reading[JsonObject]):
    """The events numbered above `after`, until the job has ended."""

    def __init__(self, job_id: str, after: int) -> None:
        self._path, self._after, self._unfinished = f"/v1/jobs/{job_id}/events", after, b""

    def place(self) -> Place:
        """Ask for what came after the last event that is known."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self._after:
            headers["Last-Event-ID"] = str(self._after)
        return Place(path=self._path, headers=headers)

    def begin(self, reply: httpx.Response) -> None:
        """Forget half an event of an earlier reply."""
        self._unfinished = b""

    def feed(self, chunk: bytes) -> Iterator[JsonObject]:
        """Give the events that are complete."""
        *blocks, self._unfinished = (self._unfinished + chunk).split(b"\n\n")
        for block in blocks:
            fields = _fields(block.decode())
            if "data" not in fields:
                continue
            if fields.get("event") == _END:
                self.is_over = True
                return
            self._after = int(fields["id"])
            yield json.loads(fields["data"])

    def end(self) -> None:
        """Go on where it ended: only the event `end` is the end."""


def _fields(block: str) -> dict[str, str]:
    r"""Give the fields of an event; a comment has none.

    >>> _fields("id: 3\nevent: stage\ndata: {}"), _fields(": keep-alive")
    ({'id': '3', 'event': 'stage', 'data': '{}'}, {})
    """
    pairs = (line.partition(":") for line in block.splitlines() if not line.startswith(":"))
    return {name: value.removeprefix(" ") for name, _, value in pairs}
