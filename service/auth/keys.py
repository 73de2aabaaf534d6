"""API keys: made, listed, revoked, recognised. A key is 256 random bits; only its SHA-256 is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection

from sqlalchemy.orm import Session

from service.auth import repository
from service.auth.callers import Caller, Scope
from service.auth.models import ApiKey
from service.ids import new_id

PREFIX = "l0_"  # lets a scanner of repositories and logs find one that was lost
_RANDOM_BYTES = 32
_FORM = re.compile(r"l0_[A-Za-z0-9_-]{43}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_NAME = 200


class BadRequest(Exception):
    """What was asked of the keys cannot be done; the message says why."""


def make(session: Session, *, tenant: str, scope: Scope, name: str) -> tuple[ApiKey, str]:
    """Make a key; gives its row and the key itself, which nobody can be told again."""
    if _TENANT.fullmatch(tenant) is None:
        raise BadRequest(f"tenant {tenant!r}: use 1 to 64 of A-Z a-z 0-9 . _ -, the first one a letter or a digit")
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest(f"name: use 1 to {_LONGEST_NAME} printable characters, such as who or what has the key")
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = ApiKey(id=new_id("key"), tenant=tenant, scope=scope.value, name=name, sha256=digest(key))
    repository.add(session, row)
    return row, key


def revoke(session: Session, key_id: str) -> ApiKey:
    """Let a key be good no more; one that was revoked before stays as it is."""
    row = repository.key_by_id(session, key_id)
    if row is None:
        raise BadRequest(f"there is no key {key_id!r}: `l0 keys list` has the ids")
    repository.revoke(session, key_id)
    session.refresh(row)
    return row


def callers(session: Session, digests: Collection[str]) -> dict[str, Caller]:
    """Give who calls, by the SHA-256 of the key; of a key that is unknown or revoked nothing."""
    rows = repository.good_keys(session, digests)
    return {
        asked: Caller(tenant=row.tenant, scope=Scope(row.scope), key_id=row.id)
        for asked in digests
        for row in rows
        if hmac.compare_digest(asked, row.sha256)
    }


def digest(key: str) -> str:
    """Give what is kept of a key. Of 256 random bits one plain hash suffices: there is nothing to guess from."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_well_formed(key: str) -> bool:
    """Tell whether a text can be a key at all; what cannot is not looked up.

    >>> is_well_formed("l0_" + "A" * 43), is_well_formed("l0_"), is_well_formed("secret")
    (True, False, False)
    """
    return _FORM.fullmatch(key) is not None
