"""Processes that pretend: to be of a later release, or that a card is there. `pretended/sitecustomize.py` does it."""

import os
from pathlib import Path

_CUSTOM = Path(__file__).parent / "pretended"
_PATHS = os.pathsep.join([str(_CUSTOM), str(_CUSTOM.parents[2])])


def of_a_later_release(version: int = 2) -> dict[str, str]:
    """Give the variables of a process that knows this version of calibration."""
    return {"L0TEST_KNOWS": str(version), "PYTHONPATH": _PATHS}


def with_card(cards: "Cards", device: str = "cuda:0", queues: str = "gpu") -> dict[str, str]:
    """Give the variables of a worker on a card."""
    return {"L0_WORKER_QUEUES": queues, "L0_WORKER_DEVICE": device, **cards.variables}


class Cards:
    """The cards of a machine that has none; locks are the test's own."""

    def __init__(self, folder: Path) -> None:
        self._file, self._temporary = folder / "cards", folder / "temporary"
        self._temporary.mkdir()

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a process that sees them."""
        return {"L0TEST_CARDS": str(self._file), "TMPDIR": str(self._temporary), "PYTHONPATH": _PATHS}

    def put_in(self, *names: str) -> None:
        """Let these be there, and no other."""
        self._file.write_text("\n".join(names))

    def take_out(self) -> None:
        """Let none be there."""
        self._file.unlink()
