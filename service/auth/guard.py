"""The process refuses to serve strangers by accident."""

from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from service.auth import repository
from service.auth.callers import Caller, Scope
from service.auth.models import ApiKey
from service.db.session import Database
from service.logging import log
from service.settings import Settings

ANONYMOUS_TENANT = "local"
ANONYMOUS = Caller(tenant=ANONYMOUS_TENANT, scope=Scope.ADMIN)
_ADVICE = (
    "Listen on 127.0.0.1, or set L0_ALLOW_ANONYMOUS=true if something in front of it checks who calls, "
    "or make keys: docs/access.md"
)


class RefusedToStart(Exception):
    """The settings would open the service to the network without keys."""


def check_start(settings: Settings) -> None:
    """Refuse any address but loopback without keys, unless anonymous access was allowed in so many words."""
    if settings.require_keys and settings.allow_anonymous:
        raise RefusedToStart("L0_REQUIRE_KEYS and L0_ALLOW_ANONYMOUS contradict each other: leave one of them out")
    if settings.on_loopback or settings.allow_anonymous:
        return
    if not settings.asks_for_keys:
        raise _refusal(settings, "everyone who reaches it could read and submit")
    if settings.require_keys is None and _has_no_keys(settings.database):
        raise _refusal(settings, "there is no API key yet (`l0 keys create` makes one), so that nobody could call it")


def _refusal(settings: Settings, why: str) -> RefusedToStart:
    return RefusedToStart(f"refusing to listen on {settings.host}: {why}. {_ADVICE}")


def _has_no_keys(url: str) -> bool:
    """Say whether a database holds no good key. One that does not answer is not asked again: keys are, all the same."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite" and not Path(parts.database or "").exists():
        return True
    database = Database(url)
    try:
        with database.reading() as session:
            is_there = inspect(session.connection()).has_table(ApiKey.__tablename__)
            return not (is_there and repository.any_good_key(session))
    except SQLAlchemyError as error:
        log.warning("keys_unknown", error=str(error))
        return False
    finally:
        database.dispose()
