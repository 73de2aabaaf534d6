"""Answers in JSON, written once: what we made ourselves is not validated again."""

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


class Json(Response):
    """A JSON answer; a number that is not finite is null, a moment is RFC 3339."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Give the bytes."""
        return to_json(content, inf_nan_mode="null")
