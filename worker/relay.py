"""A child's log in its worker's: what it writes to its file is read now and then and logged here under its job."""

import json
import logging
from pathlib import Path
from typing import Any

from service.logging import log

ENGINE = "engine"  # what a child calls its process in its own lines
_AT_ONCE = 1 << 16
_MOST_BYTES = 1 << 20  # of one attempt; the rest stays in the file, whose end is logged where the attempt fails
_OWN = frozenset({"event", "level", "job_id", "attempt", "worker"})
_RENAMED = {"exception": "engine_exception"}  # the other name is for an exception of this process


class Relay:
    """Follows one file. It waits for nobody and reads no more than a budget."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest, self._left = b"", _MOST_BYTES

    def pass_on(self) -> bool:
        """Log what was written since, up to a limit; False where there was nothing."""
        if self._left <= 0:
            return False
        chunk = self._file.read(min(_AT_ONCE, self._left))
        self._left -= len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            _log_line(line)
        if self._left <= 0:
            log.warning("engine_log_cut", after_bytes=_MOST_BYTES)
        return bool(chunk)

    def end(self) -> None:
        """Log all that is left."""
        while self.pass_on():
            pass
        _log_line(self._rest)
        self._file.close()


def _log_line(line: bytes) -> None:
    """Log a structured line as it was written, with its own time; any other as the text it is."""
    text = line.decode(errors="replace").strip()
    told = _structured(text)
    if told is not None:
        said = {_RENAMED.get(name, name): value for name, value in told.items() if name not in _OWN}
        log.log(logging.getLevelNamesMapping()[told["level"].upper()], told["event"], **said)
    elif text:
        log.info("engine_printed", process=ENGINE, line=text)


def _structured(text: str) -> dict[str, Any] | None:
    """Give the line of our own child; None for what anything else has printed."""
    try:
        told = json.loads(text)
        known = told["process"] == ENGINE and told["level"].upper() in logging.getLevelNamesMapping()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return told if known and isinstance(told.get("event"), str) else None
