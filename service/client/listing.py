"""Lists that come in pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.client.calls import Call, JsonObject, Steps, as_object, ask


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list at this path; `cursor` is how the query names the place where the next page begins."""

    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    cursor: str = "cursor"

    def first(self) -> Call[JsonObject]:
        """Give the call for the first page."""
        return Call(method="GET", path=self.path, read=as_object, query=self.query)

    def after(self, page: JsonObject) -> Call[JsonObject] | None:
        """Give the call for the page after this one, None after the last."""
        if not page["has_more"]:
            return None
        query = {**self.query, self.cursor: page["next_cursor"]}
        return Call(method="GET", path=self.path, read=as_object, query=query)


def all_of(listing: Listing) -> Steps[list[JsonObject]]:
    """Give everything in a list."""
    rows: list[JsonObject] = []
    call: Call[JsonObject] | None = listing.first()
    while call is not None:
        page = yield from ask(call)
        rows += page["data"]
        call = listing.after(page)
    return rows
