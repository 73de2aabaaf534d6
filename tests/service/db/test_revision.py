"""Who may start on which schema: waits for its own, goes on with a later one of its line, refuses any other."""

import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import text

from l0core.version import VERSION
from service.db.migrate import upgrade
from service.db.revision import Standing, WrongRevision, check_start, head, migrate, revision_of, standing
from service.db.session import Database
from service.settings import Settings

PROGRAMS = {
    "api": ["service.api.serve"],
    "worker": ["worker"],
    "migrate": ["service.cli", "migrate"],
    "up": ["service.cli", "up", "--port", "0"],
}
LATER, ANOTHER_LINE = "0099", "0101"


def rename(url: str, revision: str) -> None:
    """Let a database say that it is at this revision."""
    database = Database(url)
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    database.dispose()


def said_of(url: str) -> str | None:
    database = Database(url)
    try:
        return revision_of(database)
    finally:
        database.dispose()


def refusal(folder: Path, url: str, program: str) -> str:
    """Start a program that will not have it; gives its sentence."""
    settings = Settings(data_dir=folder, database_url=url, migration_wait_seconds=0.1, port=0)
    command = [sys.executable, "-m", *PROGRAMS[program], *(["--data", str(folder)] if program == "up" else [])]
    done = subprocess.run(
        command, env=settings.environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        (head(), Standing.SAME),
        (None, Standing.BEHIND),
        ("0001", Standing.BEHIND),
        (LATER, Standing.AHEAD),
        (ANOTHER_LINE, Standing.FOREIGN),
        ("0000", Standing.FOREIGN),
        ("00990", Standing.FOREIGN),
        ("ae1027a6acf", Standing.FOREIGN),
    ],
)
def test_how_a_revision_stands_to_this_program(revision: str | None, expected: Standing) -> None:
    assert standing(revision) is expected


def test_a_program_starts_on_its_own_schema(empty_url: str) -> None:
    migrate(empty_url)
    check_start(empty_url, 0.0)
    assert said_of(empty_url) == head()


def test_a_program_starts_on_a_later_schema_of_its_line_and_its_migration_leaves_it_alone(empty_url: str) -> None:
    upgrade(empty_url)
    rename(empty_url, LATER)
    check_start(empty_url, 0.0)
    migrate(empty_url)
    assert said_of(empty_url) == LATER


def test_a_program_waits_for_its_migration(empty_url: str) -> None:
    upgrade(empty_url, "0001")
    later = Timer(0.3, upgrade, [empty_url])
    later.start()
    check_start(empty_url, 60.0)
    assert said_of(empty_url) == head()
    later.join()


@pytest.mark.parametrize("at", ["base", "0001"])
def test_a_program_that_has_waited_in_vain_says_what_is_missing(empty_url: str, at: str) -> None:
    if at != "base":
        upgrade(empty_url, at)
    stands = {"base": "has no schema yet", "0001": "is at revision 0001"}[at]
    with pytest.raises(WrongRevision) as refused:
        check_start(empty_url, 0.1)
    assert str(refused.value) == f"the database {stands}, and this version ({VERSION}) needs {head()}: run `l0 migrate`"


def test_a_database_that_is_away_keeps_no_program_from_starting() -> None:
    check_start("postgresql+psycopg://l0@/l0?host=/nowhere", 0.1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_refuses_a_schema_of_another_line_in_words(program: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l0.db'}"
    upgrade(url)
    rename(url, ANOTHER_LINE)
    sentence = (
        f"the database is at revision {ANOTHER_LINE}, which this version ({VERSION}, revision {head()}) "
        "does not know; upgrade the program"
    )
    assert sentence in refusal(tmp_path, url, program)
    assert said_of(url) == ANOTHER_LINE


@pytest.mark.parametrize("program", ["api", "worker"])
def test_api_and_worker_say_in_words_that_the_migration_is_missing(program: str, tmp_path: Path) -> None:
    assert "has no schema yet" in refusal(tmp_path, f"sqlite:///{tmp_path / 'l0.db'}", program)
