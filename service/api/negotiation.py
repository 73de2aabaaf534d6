"""Which of the formats that there are a request asks for: by name (`?format=`), else by its Accept header."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.errors import NotAcceptable

_QUALITY = re.compile(r"[01](\.\d{0,3})?")
W = TypeVar("W")


@dataclass(frozen=True, kw_only=True)
class Format(Generic[W]):
    """A format: its media type, and what writes it."""

    media_type: str
    write: W

    @property
    def media_types(self) -> tuple[str, ...]:
        """Its own type, and the ranges of types that it is in."""
        bare = self.media_type.partition(";")[0]
        return bare, f"{bare.partition('/')[0]}/*", "*/*"


def chosen(formats: Mapping[str, Format[W]], asked: str | None, accept: str | None) -> str:
    """Give the name of the format; the first that fits is taken where several do, NotAcceptable where none does."""
    if asked is not None:
        if asked not in formats:
            raise NotAcceptable(f"format must be one of {', '.join(formats)}, not '{asked}'")
        return asked
    for media_type in _by_liking(accept or "*/*"):
        for name, format_ in formats.items():
            if media_type in format_.media_types:
                return name
    known = ", ".join(format_.media_type for format_ in formats.values())
    raise NotAcceptable(f"Accept must allow one of {known}")


def rendered_as(formats: Mapping[str, Format[W]]) -> dict[int | str, dict[str, Any]]:
    """Give what an OpenAPI document says of a route that answers in these formats, whole or in part."""
    bytes_ = {"type": "string", "format": "binary"}
    types = [format_.media_types[0] for format_ in formats.values()]
    content = {each: {"schema": {} if each == "application/json" else bytes_} for each in types}
    return {
        200: {"content": content, "description": "The whole of it."},
        206: {"content": content, "description": "The part that Range asks for."},
        304: {"description": "What If-None-Match names is the same still."},
    }


def _by_liking(accept: str) -> list[str]:
    """Give the media types of an Accept header, the best liked first, without those of quality 0.

    >>> _by_liking("application/json;q=0.1, text/csv, text/html;q=0")
    ['text/csv', 'application/json']
    """
    liked = sorted(map(_liking, accept.split(",")), reverse=True, key=lambda pair: pair[1])
    return [media_type for media_type, q in liked if q > 0]


def _liking(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    q = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    return media_type, float(q) if _QUALITY.fullmatch(q) else 0.0
