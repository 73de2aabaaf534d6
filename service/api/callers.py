"""Who calls: the key of a request, looked up `together` with those of others, and known for a few seconds."""

import time
from collections.abc import Iterable

from service.api.together import Together
from service.auth import keys
from service.auth.callers import Caller
from service.db.session import Database
from service.errors import Unauthorized

KNOWN_SECONDS = 5.0  # a key that is revoked is good no longer than this, and the moment of one look at the database
_HOW = "send the header `Authorization: Bearer l0_...`, with a key of `l0 keys create`"


class Callers:
    """Recognises keys, for all requests of this process; what is known of one costs neither a thread nor SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[Caller, float]] = {}
        self._digests = Together[str, Caller](self._read)

    async def of(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Give who sent these headers; Unauthorized where no good key is among them."""
        digest = keys.digest(_key(headers))
        caller, until = self._known.get(digest, (None, 0.0))
        if caller is not None and time.monotonic() < until:
            return caller
        return await self._looked_up(digest)

    async def _looked_up(self, digest: str) -> Caller:
        caller = await self._digests.ask(digest)
        if caller is None:
            self._known.pop(digest, None)
            raise Unauthorized("the key is not known here, or was revoked")
        self._known[digest] = caller, time.monotonic() + KNOWN_SECONDS
        return caller

    def _read(self, digests: list[str]) -> dict[str, Caller]:
        with self._database.reading() as session:
            return keys.callers(session, digests)


def _key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Give the key in the one Authorization header of a request."""
    sent = [value for name, value in headers if name == b"authorization"]
    if not sent:
        raise Unauthorized(f"this needs an API key: {_HOW}")
    scheme, _, key = sent[0].decode("latin-1").partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not keys.is_well_formed(key.strip()):
        raise Unauthorized(f"Authorization holds no key of this service: {_HOW}")
    return key.strip()
