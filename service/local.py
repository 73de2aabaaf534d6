"""A whole service of one's own for the time of a `with`: for the demo, for tests, for benchmarks, for a notebook."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from service.processes import end, spawn

_STOP_SECONDS = 60


class NotStarted(Exception):
    """`l0 up` ended before it was ready."""


@contextmanager
def local_service(
    folder: Path,
    *,
    workers: int = 1,
    environment: dict[str, str] | None = None,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[str]:
    """Run `l0 up` on a free port with its data in `folder`; gives the address, ends everything at the end.

    `waiting` is entered while it starts: where a caller lets itself be interrupted.
    """
    process = spawn(
        up_command(folder, workers), environment={**os.environ, **(environment or {})}, stdout=subprocess.PIPE
    )
    try:
        with waiting():
            address = _address(process, folder)
        yield address
    finally:
        end(process, _STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def up_command(folder: Path, workers: int = 1) -> list[str]:
    """Give the command line of `l0 up` on a free port."""
    options = {"port": "0", "data": str(folder), "workers": str(workers)}
    return [
        sys.executable,
        "-m",
        "service.cli",
        "up",
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]


def _address(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    line = process.stdout.readline().decode().strip() if process.stdout is not None else ""
    if not line:
        raise NotStarted(f"the service did not start; its logs are in {folder / 'logs'}")
    return line
