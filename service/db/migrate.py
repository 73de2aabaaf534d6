"""Brings a database to the present schema; safe to call at every start, from several processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData

_SCRIPTS = Path(__file__).parent / "migrations"


def config(url: str, metadata: MetaData | None = None) -> Config:
    """Give alembic's configuration for this database; `metadata` is needed only to compare or to write a revision."""
    made = Config()
    made.set_main_option("script_location", str(_SCRIPTS))
    made.attributes["url"] = url
    made.attributes["metadata"] = metadata
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Apply every migration that is missing."""
    command.upgrade(config(url), revision)
