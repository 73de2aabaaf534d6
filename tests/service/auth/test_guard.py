"""Nobody serves strangers by accident."""

import os
import subprocess
import sys

import pytest

from service.api.app import create_app
from service.auth.guard import RefusedToStart, check_start
from service.settings import Settings

_OPEN = ["0.0.0.0", "::", "10.1.2.3", "192.168.0.7", "example.org", "", "127.0.0.1.example.org", "::ffff:10.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    check_start(Settings(host=host))


@pytest.mark.parametrize("host", _OPEN)
def test_any_other_address_is_refused_and_told_what_to_do(host: str) -> None:
    with pytest.raises(RefusedToStart, match=r"Listen on 127\.0\.0\.1, or set L0_ALLOW_ANONYMOUS=true"):
        check_start(Settings(host=host))


@pytest.mark.parametrize("host", _OPEN)
def test_the_explicit_word_opens_any_address(host: str) -> None:
    check_start(Settings(host=host, allow_anonymous=True))


def test_the_application_itself_is_guarded() -> None:
    with pytest.raises(RefusedToStart):
        create_app(Settings(host="0.0.0.0"))


def test_the_process_ends_with_the_sentence_and_no_traceback() -> None:
    environment = {**os.environ, "L0_HOST": "0.0.0.0"}
    done = subprocess.run(
        [sys.executable, "-m", "service.api.serve"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "refusing to listen on 0.0.0.0" in done.stderr
    assert "Traceback" not in done.stderr
