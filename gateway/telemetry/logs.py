"""Write log records as lines to standard error: JSON in production, columns in development (the only module that imports structlog).

Logging never blocks the caller: a record goes into a queue, and a thread formats and writes it. If the reader of standard error is slow, the
queue fills up; records beyond its limit are dropped and counted.
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

MAX_QUEUED = 10_000
"""The limit of the queue, in records."""
BATCH_SECONDS = 0.02
"""Seconds for which records are collected before they are written: to wake up the thread for each would cost more than its line."""
FLUSH_TIMEOUT = 1.0
"""Seconds for which the end of the process waits for the last lines."""
_BATCH_SIZE = 200
"""Lines of one write."""
_STANDARD_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_LIBRARIES = ("uvicorn", "asyncio", "py.warnings")
"""Loggers of libraries whose records are written too. Their debug records are left out, as these may contain data of requests."""

log = logging.getLogger("stepgraph.logs")

Fields = dict[str, Any]
Render = Callable[[Fields], str]


class LineWriter(logging.Handler):
    """Writes each record as a line to a file descriptor, from a thread of its own."""

    def __init__(self, render: Render, descriptor: int = 2, max_queued: int = MAX_QUEUED) -> None:
        super().__init__()
        self.dropped = 0
        """How many records were dropped because the queue was full."""
        self._render = render
        self._descriptor = descriptor
        self._max_queued = max_queued
        self._queue: deque[logging.LogRecord] = deque()
        self._has_work = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._is_closed = False
        threading.Thread(target=self._work, name="log-writer", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Put a record into the queue. Unlike the standard library's handlers it takes no lock, as appending to a deque is atomic."""
        if len(self._queue) >= self._max_queued:
            self.dropped += 1
            return False
        self._queue.append(record)
        if not self._has_work.is_set():
            self._is_idle.clear()
            self._has_work.set()
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue."""
        self.handle(record)

    def flush(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Wait until the queue has been written, at most ``timeout`` seconds: the reader of the descriptor may have stopped reading."""
        self._is_idle.wait(timeout)

    def close(self) -> None:
        """Write the rest of the queue and end the thread."""
        self.flush()
        self._is_closed = True
        self._has_work.set()
        super().close()

    def _work(self) -> None:
        """Write records until the handler is closed. This is the body of the thread."""
        reported = 0
        while not self._is_closed:
            self._has_work.wait()
            time.sleep(BATCH_SECONDS)
            # Cleared before the queue is read: a record that arrives meanwhile sets it again and is not missed.
            self._has_work.clear()
            while self._queue:
                records = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH_SIZE))]
                self._write("".join(map(self._line, records)))
            if self.dropped > reported:
                self._write(self._line(_dropped_record(self.dropped - reported)))
                reported = self.dropped
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
        # Half of a surrogate pair, which a path of a request may have, cannot be encoded as it is.
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Standard error may be non-blocking: another process that shares the terminal or pipe can have set that.
                time.sleep(BATCH_SECONDS)
            except OSError:  # the other end was closed: no line will ever be read
                return


def _dropped_record(count: int) -> logging.LogRecord:
    record = logging.LogRecord("stepgraph.logs", logging.WARNING, "", 0, "log lines dropped", None, None)
    vars(record)["count"] = count
    return record


def _fields(record: logging.LogRecord) -> Fields:
    """Convert a record to an event of structlog: the standard fields, then its own fields in their order."""
    fields: Fields = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
    }
    attributes = vars(record)
    # The fields of an access line are in one mapping, as there are many such lines and to sort out the attributes takes time.
    fields.update(
        attributes.get("fields") or ((name, value) for name, value in attributes.items() if name not in _STANDARD_FIELDS)
    )
    if record.exc_info:
        fields["exc_info"] = record.exc_info
    return fields


def render_json() -> Render:
    """Return a function that renders an event as a line of JSON."""
    return _compose(structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json))


def render_columns(*, has_colors: bool) -> Render:
    """Return a function that renders an event in columns: one line, or several for tracebacks and messages with line breaks."""
    columns = structlog.dev.ConsoleRenderer(
        colors=has_colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24, sort_keys=False
    )
    return _compose(_shorten, structlog.processors.format_exc_info, columns)


def _compose(*processors: structlog.typing.Processor) -> Render:
    def render(fields: Fields) -> str:
        event: Any = fields
        for processor in processors:
            event = processor(None, "", event)
        return str(event)

    return render


def _shorten(_: Any, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Shorten the time, and leave out empty fields and fields that are of no use in development."""
    shown = {
        name: value for name, value in fields.items() if value not in ("", (), {}) and name not in {"logger", "config_version"}
    }
    at = datetime.fromisoformat(fields["timestamp"]).astimezone().strftime("%H:%M:%S") if "timestamp" in fields else ""
    return {**{name: _printable(name, value) for name, value in shown.items()}, "timestamp": at}


def _printable(name: str, value: object) -> object:
    """Escape control characters in a value of a request: they could move the cursor of the terminal or forge a line."""
    if name in {"event", "exception", "exc_info"} or not isinstance(value, str) or value.isprintable():
        return dict(value) if isinstance(value, dict) else value
    return value.encode("unicode_escape").decode()


def _json(event: object, **_: object) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half of a surrogate pair, which a path may have
        return json.dumps(event, default=str)


def configure_logging(*, is_development: bool) -> LineWriter:
    """Send the gateway's records, and the warnings of its libraries, to standard error. Call it once in a process.

    In production the gateway's records have level WARNING or above. Access lines come from a logger of their own, independent of levels.
    """
    render = render_columns(has_colors=sys.stderr.isatty()) if is_development else render_json()
    writer = LineWriter(render)
    # Lines do not show thread and process, and to find them out takes longer than all the rest of a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(capture=True)
    # Python writes these to standard error itself, and would wait for a reader that has stopped.
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_end
    for name, level in (("stepgraph", logging.INFO if is_development else logging.WARNING), *_levels(is_development)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [writer], False
        logger.setLevel(level)
    return writer


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Log an exception that nobody can catch, such as one of a ``__del__``."""
    log.error("an exception was ignored", extra={"detail": unraisable.err_msg or ""}, exc_info=unraisable.exc_value)


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    """Log the exception that has ended a thread. ``SystemExit`` is the way of a thread to end itself."""
    if ended.exc_type is not SystemExit:
        log.error(
            "a thread has ended", extra={"name_of_thread": ended.thread.name if ended.thread else ""}, exc_info=ended.exc_value
        )


def _levels(is_development: bool) -> Iterator[tuple[str, int]]:
    for name in _LIBRARIES:
        if name == "uvicorn":  # it warns of each malformed request that any client sends
            yield name, logging.INFO if is_development else logging.ERROR
        else:
            yield name, logging.WARNING


def dropped_lines() -> int:
    """Return how many records of this process were dropped."""
    return sum(handler.dropped for handler in logging.getLogger("stepgraph").handlers if isinstance(handler, LineWriter))


def flush_logs(timeout: float = FLUSH_TIMEOUT) -> None:
    """Wait until all records have been written, at most ``timeout`` seconds."""
    for handler in logging.getLogger("stepgraph").handlers:
        if isinstance(handler, LineWriter):
            handler.flush(timeout)
