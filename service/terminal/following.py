"""What happens to a job, event by event; restarts of the service are waited out."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.client import Client

_WAIT_SECONDS = 20.0


def happened(client: "Client", job_id: str, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Give every event of a job; with `follow` those to come as well, until the job has ended."""
    from service.terminal import calls
    from service.terminal.watching import ENDED, patiently

    after, wait = 0, _WAIT_SECONDS if follow else 0.0
    found = calls.events(client, job_id, after)
    while True:
        yield from found
        after = found[-1]["seq"] if found else after
        if not found and (not follow or patiently(partial(calls.job, client, job_id))["status"] in ENDED):
            return
        found = patiently(partial(calls.events, client, job_id, after, wait))
