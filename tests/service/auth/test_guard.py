"""Nobody serves strangers by accident."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from service.auth import keys
from service.auth.callers import Scope
from service.auth.guard import RefusedToStart, check_start
from service.db.migrate import upgrade
from service.db.session import Database
from service.settings import Settings

_OPEN = ["0.0.0.0", "::", "10.1.2.3", "192.168.0.7", "example.org", "", "127.0.0.1.example.org", "::ffff:10.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    check_start(Settings(host=host))


@pytest.mark.parametrize("host", _OPEN)
def test_any_other_address_is_refused_and_told_what_to_do(host: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedToStart, match=r"Listen on 127\.0\.0\.1, or set L0_ALLOW_ANONYMOUS=true"):
        check_start(Settings(host=host, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", _OPEN)
def test_without_keys_any_other_address_is_refused(host: str) -> None:
    with pytest.raises(RefusedToStart, match="everyone who reaches it could read and submit"):
        check_start(Settings(host=host, require_keys=False))


def test_a_key_opens_any_address_and_a_revoked_one_does_not(database: Database, database_url: str) -> None:
    settings = Settings(host="0.0.0.0", database_url=database_url)
    assert settings.asks_for_keys
    with pytest.raises(RefusedToStart, match="there is no API key yet"):
        check_start(settings)
    with database.transaction() as session:
        row, _ = keys.make(session, tenant="a", scope=Scope.READ, name="first")
    check_start(settings)
    with database.transaction() as session:
        keys.revoke(session, row.id)
    with pytest.raises(RefusedToStart):
        check_start(settings)


def test_who_asks_for_keys_in_so_many_words_may_make_them_later(tmp_path: Path) -> None:
    check_start(Settings(host="0.0.0.0", require_keys=True, data_dir=tmp_path))


def test_a_database_that_is_away_keeps_nobody_from_starting_who_asks_for_keys() -> None:
    check_start(Settings(host="0.0.0.0", database_url="postgresql+psycopg://l0@127.0.0.1:1/l0"))


def test_a_database_without_the_table_of_keys_has_none(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", data_dir=tmp_path)
    upgrade(settings.database, "0002")
    with pytest.raises(RefusedToStart, match="no API key yet"):
        check_start(settings)


def test_keys_and_no_keys_contradict_each_other() -> None:
    with pytest.raises(RefusedToStart, match="contradict"):
        check_start(Settings(require_keys=True, allow_anonymous=True))


@pytest.mark.parametrize(
    ("changed", "asks"),
    [
        ({}, False),
        ({"require_keys": True}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
        ({"host": "0.0.0.0", "require_keys": False}, False),
    ],
)
def test_keys_are_asked_for_on_every_address_but_loopback(changed: dict[str, Any], asks: bool) -> None:
    assert Settings(**changed).asks_for_keys == asks


@pytest.mark.parametrize("host", _OPEN)
def test_the_explicit_word_opens_any_address(host: str) -> None:
    check_start(Settings(host=host, allow_anonymous=True))


def test_the_application_itself_is_guarded() -> None:
    with pytest.raises(RefusedToStart):
        create_app(Settings(host="0.0.0.0", require_keys=False))


def test_the_process_ends_with_the_sentence_and_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "L0_HOST": "0.0.0.0", "L0_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "service.api.serve"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "refusing to listen on 0.0.0.0" in done.stderr
    assert "Traceback" not in done.stderr
