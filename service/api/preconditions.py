"""What a client knows already, by RFC 9110."""

from fastapi import Request


def is_known(request: Request, etag: str) -> bool:
    """Tell whether If-None-Match names this ETag: a list, compared weakly, or `*` for any."""
    named = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in named or etag in named
