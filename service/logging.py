"""Structured logs: one JSON object a line on standard error. Events, not sentences."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict

from service.settings import Settings

log = structlog.get_logger()


class Unfailing:
    """A stream that drops what cannot be written: on a full disk the work goes on, without a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Let it be seen, where it can be."""
        with suppress(OSError):
            self._stream.flush()


def configure(settings: Settings, *, process: str) -> None:
    """Set up structlog for this process; its name stands in every line, whatever thread writes it."""

    def name_process(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {**event, "process": process}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_process,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
