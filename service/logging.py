"""Structured logs: one JSON object a line on standard error. Events, not sentences.

What libraries say through the standard library, warnings, and an exception that nobody caught take the same form. No
line shows a password, a local variable, or more of a text than `_LONGEST_TEXT`.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer, MaybeTimeStamper
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import Processor
from structlog.typing import EventDict

from service.settings import Settings

log = structlog.get_logger()
_FIRST = ("timestamp", "level", "process", "event", "job_id", "attempt", "worker")
_LONGEST_TEXT = 4000
_USER_AND_PASSWORD = re.compile(r"(://[^:/@\s]*):\S*@")
_PASSWORD = re.compile(r"(?i)(passw(?:or)?d=)[^\s&'\"]+")
_PLAIN = (int, float, type(None))  # a truth value is an int


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


def configure(settings: Settings, *, process: str, worker: str | None = None) -> None:
    """Set up all logging of this process; its name, and which worker it is, stand in every line, whoever writes it."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared = _shared({"process": process} | ({"worker": worker} if worker else {}))
    structlog.configure(
        processors=[*shared, _sound, JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    _take_over_the_standard_library(shared, max(level, logging.WARNING))
    _take_over_what_nobody_catches()


def _shared(own: Mapping[str, str]) -> list[Processor]:
    def introduce(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {**own, **event}  # a line that is passed on keeps the name of who wrote it

    return [
        structlog.contextvars.merge_contextvars,
        introduce,
        structlog.processors.add_log_level,
        MaybeTimeStamper(fmt="iso", utc=True),
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]


def _take_over_the_standard_library(shared: list[Processor], level: int) -> None:
    handler: logging.StreamHandler[Any] = logging.StreamHandler(Unfailing(sys.stderr))
    last: list[Processor] = [ProcessorFormatter.remove_processors_meta, _sound, JSONRenderer()]
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=[add_logger_name, *shared], processors=last))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)


def _take_over_what_nobody_catches() -> None:
    def of_the_program(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("uncaught_exception", exc_info=error)

    def of_a_thread(said: threading.ExceptHookArgs) -> None:
        if said.exc_value is not None:
            log.critical("uncaught_exception", thread=said.thread and said.thread.name, exc_info=said.exc_value)

    sys.excepthook, threading.excepthook = of_the_program, of_a_thread


def _sound(_logger: object, _method: str, event: EventDict) -> EventDict:
    ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
    return {str(name): _sound_value(value) for name, value in ordered.items()}


def _sound_value(value: object) -> object:
    """Give a value without passwords and cut to a length; what JSON does not know as its text."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(name): _sound_value(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_sound_value(inner) for inner in value]
    return _sound_text(str(value))


def _sound_text(text: str) -> str:
    """Give a text that may be logged.

    >>> _sound_text("cannot reach postgresql://l0:secret@db/l0")
    'cannot reach postgresql://l0:***@db/l0'
    """
    hidden = _PASSWORD.sub(r"\1***", _USER_AND_PASSWORD.sub(r"\1:***@", text))
    return hidden if len(hidden) <= _LONGEST_TEXT else f"{hidden[:_LONGEST_TEXT]}... ({len(hidden)} characters)"
