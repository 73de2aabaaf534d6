"""`l0 keys`: what it prints, and the sentence where it cannot."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.auth import keys
from service.commands import app
from service.db.migrate import upgrade
from service.db.session import Database

CREATE = ("create", "--tenant", "a", "--scope", "write", "--name", "mine")


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("L0_DATABASE_URL", raising=False)
    monkeypatch.delenv("L0_DATA_DIR", raising=False)


def said(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_the_first_key_of_a_folder_makes_its_database(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    done = said(*CREATE, "--data", folder)
    assert done.exit_code == 0, done.output
    assert keys.is_well_formed(done.stdout.strip())
    assert "tenant a, scope write" in done.stderr
    listed = said("list", "--data", folder)
    assert done.stdout.strip() not in listed.output
    assert listed.stdout.split("\t")[1:3] == ["a", "write"]


def test_keys_are_made_listed_and_revoked_as_json_on_either_database(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L0_DATABASE_URL", database_url)
    first, second = (json.loads(said(*CREATE, "--json").stdout) for _ in range(2))
    assert set(first) == {"id", "tenant", "scope", "name", "created_at", "revoked_at", "key"}
    revoked = json.loads(said("revoke", first["id"], "--json").stdout)
    assert revoked["revoked_at"] is not None
    listed = json.loads(said("list", "--json").stdout)["data"]
    assert [(row["id"], row["revoked_at"] is None) for row in listed] == [(first["id"], False), (second["id"], True)]
    assert json.loads(said("list", "--tenant", "b", "--json").stdout) == {"data": []}
    with database.reading() as session:
        digests = [keys.digest(key["key"]) for key in (first, second)]
        assert list(keys.callers(session, digests)) == digests[1:]


def test_a_database_that_is_behind_is_said_as_such(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'l0.db'}", "0002")
    for command in (CREATE, ("list",), ("revoke", "key_1")):
        done = said(*command, "--data", str(tmp_path))
        assert done.exit_code == 1
        assert "is at revision 0002" in done.stderr
        assert "run `l0 migrate`" in done.stderr
        assert done.stdout == ""


def test_a_server_s_database_without_a_schema_is_not_made_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L0_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    done = said(*CREATE)
    assert done.exit_code == 1
    assert "has no schema yet" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("list",), "there is no database"),
        (("revoke", "key_1"), "there is no database"),
        (("create", "--tenant", "a/b", "--scope", "read", "--name", "x"), "tenant 'a/b'"),
    ],
)
def test_what_cannot_be_done_ends_with_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = said(*arguments, "--data", str(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr


def test_a_scope_that_is_not_there_is_refused() -> None:
    assert said("create", "--tenant", "a", "--scope", "most", "--name", "x").exit_code == 2


def test_two_databases_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DATABASE_URL", "sqlite:///elsewhere.db")
    done = said("list", "--data", str(tmp_path))
    assert done.exit_code == 1
    assert "two databases" in done.stderr


def test_a_database_that_is_away_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DATABASE_URL", "postgresql+psycopg://l0@127.0.0.1:1/l0")
    done = said("list")
    assert done.exit_code == 1
    assert "the database cannot be used" in done.stderr
