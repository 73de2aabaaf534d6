"""A backup taken from a running service is a service's data folder: all that was there goes on from it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.backup import NoBackup, back_up
from service.db.migrate import upgrade
from service.settings import Settings
from service.system import System
from tests.service.jobs import scenes
from tests.worker import runs

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_SQLITE
def test_a_job_goes_on_from_a_backup_that_was_taken_in_mid_run(system: System, tmp_path: Path) -> None:
    job_id = runs.submitted(system)
    with runs.attempt(system, job_id) as attempt, attempt.held_in_mid_run() as reached:
        made = back_up(system.settings, tmp_path / "copy")
        attempt.draining.set()
    settings = system.settings.model_copy(update={"data_dir": made.folder, "database_url": ""})
    restored = System.open(settings)
    try:
        assert scenes.job(restored, job_id).status == "running"
        scenes.expire(restored, job_id)
        with capture_logs() as logged:
            runs.executed(restored, job_id)
        assert np.array_equal(runs.weights(restored, job_id), runs.undisturbed().weights)
        assert [line["from_epoch"] for line in logged if line["event"] == "run_resumes"] == [reached]
    finally:
        restored.database.dispose()


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    """A service's folder with a job and two files, one of them still on its way in."""
    settings = Settings(data_dir=tmp_path / "data", broker_url="redis+socket:///nowhere.sock")
    upgrade(settings.database)
    system = System.open(settings)
    scenes.submitted(system)
    (system.store.scratch() / "half").write_bytes(b"half")
    source = tmp_path / "bytes"
    source.write_bytes(b"whole")
    system.store.put("problems/one", source)
    system.database.dispose()
    return settings


def test_it_holds_what_was_there_and_nothing_half(small: Settings, tmp_path: Path) -> None:
    made = back_up(small, tmp_path / "a" / "copy")
    assert (made.n_files, made.files_bytes) == (1, 5)
    assert (tmp_path / "a" / "copy" / "files" / "problems" / "one").read_bytes() == b"whole"
    names = sorted(path.name for path in (tmp_path / "a").rglob("*"))
    assert names == ["copy", "files", "l0.db", "one", "problems"]
    assert (tmp_path / "a" / "copy").stat().st_mode & 0o077 == 0


def test_files_in_a_bucket_are_left_to_others_and_that_is_said(small: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "backup", str(tmp_path / "copy"), "--data", str(small.data_dir)]
    environment = os.environ | {"L0_STORAGE_URL": "s3://bucket/prefix"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "the files are in s3://bucket/prefix: copy that bucket now" in done.stdout
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["l0.db"]


def test_what_was_deleted_while_it_was_copied_is_left_out(small: Settings, tmp_path: Path) -> None:
    (small.storage / "problems" / "gone").symlink_to("nowhere")
    assert back_up(small, tmp_path / "copy").n_files == 1


def test_an_older_backup_is_not_written_over(small: Settings, tmp_path: Path) -> None:
    back_up(small, tmp_path / "copy")
    with pytest.raises(NoBackup, match="exists already"):
        back_up(small, tmp_path / "copy")


def test_a_backup_that_failed_does_not_look_like_one(small: Settings, tmp_path: Path) -> None:
    (small.data_dir / "l0.db").write_bytes(b"no database" * 1000)
    command = [sys.executable, "-m", "service.cli", "backup", str(tmp_path / "copy"), "--data", str(small.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "file is not a database" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"L0_DATABASE_URL": "postgresql+psycopg://l0@/l0?host=/nowhere"}, "for PostgreSQL use pg_dump"),
        ({}, "there is no database"),
    ],
)
def test_what_it_cannot_copy_is_said(environment: dict[str, str], says: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "backup", str(tmp_path / "copy"), "--data", str(tmp_path / "none")]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
