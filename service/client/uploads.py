"""The steps that bring an array to the service."""

from service.client.calls import Call, Steps, as_id, ask, locally
from service.client.outgoing import Outgoing, outgoing

_ASK_FIRST_BYTES = 2**20  # what is larger is not sent before one knows that it is not there


def upload(array: object) -> Steps[str]:
    """Send a scipy sparse matrix, a numpy array, or a file by its path; gives the upload's id.

    A file is sent in pieces, an array through a temporary file. What the service holds already is not sent again.
    """
    opened = yield from locally(lambda: outgoing(array))
    with opened.file:
        if opened.encoding is None and opened.size_bytes >= _ASK_FIRST_BYTES:
            held: str | None = yield from ask(_held(opened))
            if held is not None:
                return held
        sent = Call(method="POST", path="/v1/uploads", read=as_id, headers=opened.headers, file=opened)
        return (yield from ask(sent))


def _held(opened: Outgoing) -> Call[str | None]:
    """Ask for the upload that holds these bytes; None where there is none."""
    return Call(
        method="GET",
        path=f"/v1/uploads/sha256:{opened.sha256}",
        query={"content_type": opened.content_type},
        read=lambda reply: None if reply.is_error else reply.json()["id"],
        accepted=frozenset({404}),
    )
