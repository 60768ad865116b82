"""Log records → lines on standard error: JSON in production, columns for people in development (the only module that knows structlog).

Nobody who logs ever waits: a record goes into a queue, and a thread makes it a line and writes it. While nobody reads what is written
the queue fills up, and what has no room in it is counted instead.
"""

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

MAX_WAITING = 10_000
"""Lines that wait to be written at the most."""
GATHERING = 0.02
"""Seconds in which records are gathered before they are written: to wake the thread for each would cost more than its line."""
PATIENCE = 1.0
"""Seconds that the end of the process waits for its last lines."""
_AT_ONCE = 200
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName", "color_message"}
_LIBRARIES = ("uvicorn", "asyncio", "py.warnings")
"""Loggers of others whose lines go the same way; what they say at their chattiest levels may hold what passes through them."""

Fields = dict[str, Any]
Render = Callable[[Fields], str]


class LineWriter(logging.Handler):
    """Writes records to a file descriptor, a line each, from a thread of its own."""

    def __init__(self, render: Render, descriptor: int = 2, max_waiting: int = MAX_WAITING) -> None:
        super().__init__()
        self.dropped = 0
        """How many lines were not written because there was no room for them."""
        self._render = render
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._waiting: deque[logging.LogRecord] = deque()
        self._has_work = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._is_closed = False
        threading.Thread(target=self._work, name="log-writer", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record. There is no lock as in the standard library's handlers: a deque needs none."""
        if len(self._waiting) >= self._max_waiting:
            self.dropped += 1
            return False
        self._waiting.append(record)
        if not self._has_work.is_set():
            self._is_idle.clear()
            self._has_work.set()
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self.handle(record)

    def flush(self) -> None:
        """Wait until what was logged has been written, but not for long: there may be nobody who reads it."""
        self._is_idle.wait(PATIENCE)

    def close(self) -> None:
        """End the thread when it has written what is left."""
        self.flush()
        self._is_closed = True
        self._has_work.set()
        super().close()

    def _work(self) -> None:
        told = 0
        while not self._is_closed:
            self._has_work.wait()
            time.sleep(GATHERING)
            self._has_work.clear()
            while self._waiting:
                records = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
                self._write("".join(map(self._line, records)))
            if self.dropped > told:
                self._write(self._line(_dropped(self.dropped - told)))
                told = self.dropped
            if not self._has_work.is_set():
                self._is_idle.set()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self._render(_fields(record)) + "\n"
        except Exception as error:  # noqa: BLE001 - one bad record must not keep the others from being written
            return (
                self._render({"level": "error", "event": "a log line could not be made", "detail": type(error).__name__}) + "\n"
            )

    def _write(self, text: str) -> None:
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                time.sleep(GATHERING)
            except OSError:  # it was closed, so nobody will ever read it
                return


def _dropped(count: int) -> logging.LogRecord:
    record = logging.LogRecord("stepgraph.logs", logging.WARNING, "", 0, "log lines dropped", None, None)
    vars(record)["count"] = count
    return record


def _fields(record: logging.LogRecord) -> Fields:
    """Return a record as structlog has an event: its own fields in the order in which they were given."""
    fields: Fields = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
    }
    given = vars(record)
    # Those of a request are together already: there are many of them.
    fields.update(given.get("fields") or ((name, value) for name, value in given.items() if name not in _STANDARD))
    if record.exc_info:
        fields["exc_info"] = record.exc_info
    return fields


def render_json() -> Render:
    """Return what makes an event a line of JSON."""
    return _chain(structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json))


def render_columns(*, has_colors: bool) -> Render:
    """Return what makes an event a line for people; only a traceback, and what our own messages have, takes several."""
    columns = structlog.dev.ConsoleRenderer(
        colors=has_colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24, sort_keys=False
    )
    return _chain(_for_people, structlog.processors.format_exc_info, columns)


def _chain(*processors: structlog.typing.Processor) -> Render:
    def render(fields: Fields) -> str:
        event: Any = fields
        for processor in processors:
            event = processor(None, "", event)
        return str(event)

    return render


def _for_people(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Shorten the time, and leave out what is empty and what nobody looks for while developing."""
    shown = {
        name: value for name, value in fields.items() if value not in ("", (), {}) and name not in {"logger", "config_version"}
    }
    at = datetime.fromisoformat(fields["timestamp"]).astimezone().strftime("%H:%M:%S") if "timestamp" in fields else ""
    return {**{name: _printable(name, value) for name, value in shown.items()}, "timestamp": at}


def _printable(name: str, value: object) -> object:
    """Escape what could move the cursor or forge a line."""
    if name in {"event", "exception", "exc_info"} or not isinstance(value, str) or value.isprintable():
        return dict(value) if isinstance(value, dict) else value
    return value.encode("unicode_escape").decode()


def _json(event: object, **_: object) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half of a surrogate pair, which a path may have
        return json.dumps(event, default=str)


def configure_logging(*, is_development: bool) -> LineWriter:
    """Send the gateway's records, and the warnings of the libraries it stands on, to standard error; call it once in a process.

    In production the gateway's own are those from warnings on; requests have a logger of their own, which does not ask for levels.
    """
    render = render_columns(has_colors=sys.stderr.isatty()) if is_development else render_json()
    writer = LineWriter(render)
    # Who logged where is not told, and to find it out takes longer than all the rest.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(capture=True)
    for name, level in (("stepgraph", logging.INFO if is_development else logging.WARNING), *_levels(is_development)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [writer], False
        logger.setLevel(level)
    return writer


def _levels(is_development: bool) -> Iterator[tuple[str, int]]:
    for name in _LIBRARIES:
        if name == "uvicorn":  # it warns of whatever odd bytes anybody sends
            yield name, logging.INFO if is_development else logging.ERROR
        else:
            yield name, logging.WARNING


def dropped_lines() -> int:
    """Return how many lines of this process were dropped."""
    return sum(handler.dropped for handler in logging.getLogger("stepgraph").handlers if isinstance(handler, LineWriter))


def flush_logs() -> None:
    """Wait until what was logged has been written, but not for long."""
    for handler in logging.getLogger("stepgraph").handlers:
        handler.flush()
