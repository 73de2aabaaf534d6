"""How alembic reaches the database: through the service's own engine, one migration run at a time."""

from alembic import context
from sqlalchemy import text

from service.db.session import Database

_LOCK = 0x6C30  # any number that is ours


def _run() -> None:
    database = Database(context.config.attributes["url"])
    try:
        _migrate(database)
    finally:
        database.dispose()


def _migrate(database: Database) -> None:
    with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        context.configure(
            connection=connection, target_metadata=context.config.attributes["metadata"], render_as_batch=True
        )
        context.run_migrations()


_run()
