"""The keys of a database, reached without a running service: for the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.auth.keys import BadRequest
from service.db import revision
from service.db.session import Database
from service.settings import Settings


@contextmanager
def keys_of(settings: Settings, *, make_schema: bool = False) -> Iterator[Session]:
    """Give a transaction; BadRequest or WrongRevision say in a sentence why there is none.

    With `make_schema` the database of one machine is made where there is none yet.
    """
    if not settings.database_url:
        _find(Path(settings.data_dir / "l0.db"), settings, make_schema=make_schema)
    database = Database(settings.database)
    try:
        revision.refuse_behind(revision.revision_of(database))
        with database.transaction() as session:
            yield session
    except SQLAlchemyError as error:
        raise BadRequest(f"the database cannot be used: {getattr(error, 'orig', None) or error}") from None
    finally:
        database.dispose()


def _find(file: Path, settings: Settings, *, make_schema: bool) -> None:
    if file.exists():
        return
    if not make_schema:
        raise BadRequest(f"there is no database {file}: name the service's folder with --data")
    revision.migrate(settings.database)
