"""Who a request comes from, as the rest of the service sees it."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key is good for; each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        """Tell whether this is enough where `needed` is asked for.

        >>> Scope.WRITE.includes(Scope.READ), Scope.WRITE.includes(Scope.ADMIN)
        (True, False)
        """
        return _RANK[self] >= _RANK[needed]


_RANK = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A tenant, what they may do, and the id of the key that says so (none where no keys are asked for)."""

    tenant: str
    scope: Scope
    key_id: str | None = None
