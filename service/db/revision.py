"""Which schema a database has, and whether this program may start on it: docs/decisions/0014.

A revision's first two digits count the schemas that older programs cannot use; within one such line every program
works on every later schema.
"""

import time
from enum import Enum, auto

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from l0core.version import VERSION
from service.db.migrate import config, upgrade
from service.db.session import Database
from service.logging import log

_LINE_DIGITS = 2
_POLL_SECONDS = 0.5


class WrongRevision(Exception):
    """The program cannot start on the database as it is; the message is the sentence to end with."""


class Standing(Enum):
    """How a database's schema stands to the one this program was made for."""

    SAME = auto()
    BEHIND = auto()
    AHEAD = auto()
    FOREIGN = auto()


def revision_of(database: Database) -> str | None:
    """Give the revision of a database; None where it has no schema yet."""
    with database.reading() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        revision: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def standing(revision: str | None) -> Standing:
    """Say how a revision stands to this program's own.

    >>> standing(None), standing("0001"), standing("0099"), standing("0101")
    (<Standing.BEHIND: 2>, <Standing.BEHIND: 2>, <Standing.AHEAD: 3>, <Standing.FOREIGN: 4>)
    """
    own = head()
    if revision == own:
        return Standing.SAME
    if revision is None or revision in known():
        return Standing.BEHIND
    is_of_our_line = revision.isdecimal() and len(revision) == len(own) and revision > own
    return Standing.AHEAD if is_of_our_line and revision[:_LINE_DIGITS] == own[:_LINE_DIGITS] else Standing.FOREIGN


def known() -> list[str]:
    """Give the revisions this program knows, the latest first."""
    return [script.revision for script in ScriptDirectory.from_config(config("")).walk_revisions()]


def head() -> str:
    """Give the revision this program was made for."""
    return known()[0]


def refuse_foreign(revision: str | None) -> None:
    """Raise WrongRevision for a schema of a line that this program does not know."""
    if standing(revision) is Standing.FOREIGN:
        raise WrongRevision(
            f"the database is at revision {revision}, which this version ({VERSION}, revision {head()}) does not know; "
            "upgrade the program"
        )


def refuse_behind(revision: str | None) -> None:
    """Raise WrongRevision for a schema that this program cannot work on, or not yet."""
    if standing(revision) is Standing.BEHIND:
        raise WrongRevision(_lack(revision))
    refuse_foreign(revision)


def check_start(url: str, patience_seconds: float) -> None:
    """Let a program start on a schema it can work on, waiting a while for one that is not migrated yet.

    A database that does not answer is not asked again: the program starts, and serves once it is back.
    """
    database = Database(url)
    try:
        _wait_until_migrated(database, time.monotonic() + patience_seconds)
    except SQLAlchemyError as error:
        log.warning("revision_unknown", error=str(error))
    finally:
        database.dispose()


def migrate(url: str) -> None:
    """Bring a database to the present schema; one that is ahead of it on the same line is left as it is."""
    database = Database(url)
    revision = revision_of(database)
    database.dispose()
    refuse_foreign(revision)
    if standing(revision) is Standing.AHEAD:
        log.warning("schema_is_newer", revision=revision, own=head())
    else:
        upgrade(url)


def _wait_until_migrated(database: Database, limit: float) -> None:
    revision = revision_of(database)
    while standing(revision) is Standing.BEHIND:
        if time.monotonic() > limit:
            raise WrongRevision(_lack(revision))
        log.warning("waits_for_migration", reason=_lack(revision))
        time.sleep(_POLL_SECONDS)
        revision = revision_of(database)
    refuse_foreign(revision)
    if standing(revision) is Standing.AHEAD:
        log.warning("schema_is_newer", revision=revision, own=head())


def _lack(revision: str | None) -> str:
    stands = "has no schema yet" if revision is None else f"is at revision {revision}"
    return f"the database {stands}, and this version ({VERSION}) needs {head()}: run `l0 migrate`"
