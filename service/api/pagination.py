"""Pages: a limit, an opaque cursor, and whether there is more."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic_core import to_json

from service.api import sound_json
from service.api.responses import Json
from service.errors import Unprocessable

LARGEST_INTEGER = 2**63 - 1  # of a database
Limit = Annotated[int, Query(ge=1, le=1000, description="Most rows of a page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]


def page(rows: Sequence[Any], limit: int, next_place: Any) -> dict[str, Any]:
    """Give `limit` of the rows (one more was asked for) and the cursor after them; `next_place` tells its content."""
    more = len(rows) > limit
    return {"data": list(rows[:limit]), "next_cursor": encode(next_place) if more else None, "has_more": more}


def json_page(texts: Sequence[bytes], more_after: Any | None) -> Response:
    """Give a page whose rows are JSON already; `more_after` is the content of its cursor where there is more."""
    rest = to_json(
        {"next_cursor": None if more_after is None else encode(more_after), "has_more": more_after is not None}
    )
    return Response(b'{"data":[' + b",".join(texts) + b"]," + rest[1:], media_type=Json.media_type)


def encode(place: Any) -> str:
    """Give a place in a list as opaque text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode(cursor: str) -> Any:
    """Give the place back; refuses a cursor this service did not make.

    >>> decode(encode([0.5, 3]))
    [0.5, 3]
    """
    try:
        return sound_json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, Unprocessable):
        raise bad_cursor() from None


def text_in(cursor: str) -> str:
    """Give the text that a cursor holds; refuses one that holds something else."""
    place = decode(cursor)
    if not isinstance(place, str):
        raise bad_cursor()
    return place


def number_in(cursor: str) -> int:
    """Give the whole number that a cursor holds, 0 or more; refuses one that holds something else."""
    place = decode(cursor)
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place <= LARGEST_INTEGER // 2:
        raise bad_cursor()
    return place


def bad_cursor() -> Unprocessable:
    """The refusal of a cursor that this list did not give."""
    return sound_json.refusal("cursor is not one that this list gave in this order; start without it", "/cursor")
