"""Brings a database to the present schema; safe to call at every start, from several processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"


def config(url: str) -> Config:
    """Give alembic's configuration for this database."""
    made = Config()
    made.set_main_option("script_location", str(_SCRIPTS))
    made.attributes["url"] = url
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Apply every migration that is missing."""
    command.upgrade(config(url), revision)
