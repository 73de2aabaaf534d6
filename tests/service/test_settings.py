"""Every setting survives the way through the environment to a child process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.settings import Settings

_PRINT = "from service.settings import Settings; print(Settings().model_dump_json())"
_OTHER: dict[str, Any] = {
    "data_dir": Path("/tmp/some where"),
    "database_url": "postgresql+psycopg://me:p%40ss@host/name?sslmode=require",
    "broker_url": "redis://:secret@broker:6379/3",
    "migration_wait_seconds": 0.0,
    "storage_dir": Path("/srv/files"),
    "storage_url": "s3://bucket/some/prefix",
    "s3_endpoint_url": "http://minio:9000",
    "storage_timeout_seconds": 3.5,
    "storage_patience_seconds": 0.0,
    "host": "::1",
    "port": 0,
    "api_processes": 3,
    "require_keys": False,
    "allow_anonymous": True,
    "quota_stored_bytes": 0,
    "quota_active_jobs": 7,
    "quota_requests_a_minute": 60,
    "max_waiting_jobs": 9,
    "max_upload_bytes": 7,
    "max_body_bytes": 2**20 + 1,
    "read_timeout_seconds": 0.75,
    "parse_memory_bytes": 2**31,
    "parse_seconds": 0.1,
    "max_nonzeros": 3,
    "max_units": 4,
    "max_targets": 5,
    "lease_seconds": 1e-3,
    "renew_seconds": 1 / 3,
    "flush_seconds": 0.25,
    "reap_seconds": 1e6,
    "republish_seconds": 9.5,
    "stop_seconds": 2.0,
    "checkpoint_seconds": 0.7,
    "worker_seen_seconds": 12.5,
    "retention_days": 0.5,
    "upload_hours": 0.25,
    "orphan_hours": 0.125,
    "sweep_seconds": 1.5,
    "orphan_sweep_seconds": 2.5,
    "webhook_allowed_networks": "127.0.0.0/8, fd00::/8",
    "worker_queues": "gpu,cpu",
    "worker_device": "cuda:1",
    "worker_concurrency": 2,
    "log_level": "debug",
}


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"L0_{name.upper()}", raising=False)


def _seen_by_a_child(settings: Settings) -> Settings:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT], env=settings.environment(), capture_output=True, text=True, check=True
    )
    return Settings(**json.loads(done.stdout))


def test_every_setting_reaches_a_child_process() -> None:
    assert set(_OTHER) == set(Settings.model_fields)
    settings = Settings(**_OTHER)
    seen = _seen_by_a_child(settings)
    assert seen.model_dump() == settings.model_dump()
    assert (seen.database, seen.broker, seen.storage) == (settings.database, settings.broker, settings.storage)


def test_a_relative_folder_reaches_a_child_that_runs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=Path("here"), storage_dir=Path("there"))
    environment = settings.environment()
    monkeypatch.chdir("/")
    monkeypatch.setattr("os.environ", environment)
    seen = Settings()
    assert (seen.database, seen.broker, seen.storage) == (settings.database, settings.broker, settings.storage)
    assert seen.storage == tmp_path / "there"


@given(st.floats(min_value=1e-9, max_value=1e9), st.integers(1, 2**40))
def test_numbers_arrive_to_the_last_bit(seconds: float, count: int) -> None:
    sent = Settings(lease_seconds=seconds, max_nonzeros=count).environment()
    read = Settings(lease_seconds=float(sent["L0_LEASE_SECONDS"]), max_nonzeros=int(sent["L0_MAX_NONZEROS"]))
    assert (read.lease_seconds, read.max_nonzeros) == (seconds, count)


def test_what_was_set_wins_over_the_environment_and_the_rest_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_PORT", "9000")
    monkeypatch.setenv("L0_LEASE_SECONDS", "5")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    environment = Settings(port=8001).environment()
    assert (environment["L0_PORT"], environment["SOMETHING_ELSE"]) == ("8001", "kept")
    assert float(environment["L0_LEASE_SECONDS"]) == 5


def test_what_was_not_set_is_left_to_the_child() -> None:
    assert [name for name in Settings(port=1).environment() if name.startswith("L0_")] == ["L0_PORT"]


def test_no_storage_folder_stays_no_storage_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=Path("/data"), storage_dir=None)
    monkeypatch.setattr("os.environ", settings.environment())
    assert Settings().storage == settings.storage


def test_a_copy_with_another_broker_uses_it() -> None:
    settings = Settings(broker_url="redis://one")
    assert settings.broker == "redis://one"
    assert settings.model_copy(update={"broker_url": "redis://two"}).broker == "redis://two"


def test_the_defaults_live_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path / 'l0.db'}"
    assert settings.broker == f"redis+socket://{tmp_path / 'broker.sock'}"
    assert settings.storage == tmp_path / "files"
    assert settings.on_loopback
    assert not settings.allow_anonymous


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 65536},
        {"port": -1},
        {"max_upload_bytes": 0},
        {"lease_seconds": 0},
        {"renew_seconds": -1},
        {"worker_concurrency": 0},
        {"log_level": "loud"},
        {"prot": 1},
        {"storage_url": "/srv/files"},
        {"storage_url": "s3://"},
        {"storage_url": "s3://bucket//prefix"},
        {"storage_timeout_seconds": 0},
        {"webhook_allowed_networks": "localhost"},
        {"webhook_allowed_networks": "10.0.0.1/8"},
    ],
)
def test_a_setting_out_of_range_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**changed)


def test_a_file_that_may_still_be_listed_is_no_orphan() -> None:
    assert Settings(orphan_hours=0.001, lease_seconds=30.0).orphan_seconds == 90.0
    assert Settings(orphan_hours=1.0, lease_seconds=30.0).orphan_seconds == 3600.0


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # the point of the test
