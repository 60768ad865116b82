"""Supervise worker processes that share a listening socket: replace dead ones, forward signals, and exit after the last."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess

log = logging.getLogger("stepgraph.workers")

NOT_STARTED = 3
"""Exit status of a worker that failed to start. If no older worker is alive, the supervisor gives up: no worker can start. A worker that
has served may end with the same status, by a step that ends its process; it is replaced like any other."""
RESTART_INTERVAL = 1.0
"""Minimum seconds between two starts of a worker, so that one that crashes at once does not use up the processor."""
FAILED_START_INTERVAL = 5.0
"""The same after a failed start, which itself takes most of a second of processor time."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A worker process that was started: when, by the monotonic clock, and where it tells that it serves."""

    started_at: float
    told: Connection

    def has_served(self) -> bool:
        """Tell whether the worker, which has ended, has said that it serves."""
        try:
            # Without a wait: a child of the worker may hold the other end open.
            return self.told.poll() and bool(self.told.recv_bytes())
        except (EOFError, OSError):
            return False
        finally:
            self.told.close()


class Workers:
    """The workers of this process, their supervisor.

    ``create_process`` returns a process that has not started yet, and that sends a byte to its argument once it serves.
    """

    def __init__(self, create_process: Callable[[Connection], BaseProcess], count: int, bound: socket.socket) -> None:
        self._create_process = create_process
        self._count = count
        self._bound = bound
        self._started: dict[BaseProcess, _Running] = {}
        self._is_stopping = threading.Event()
        self._status = 0

    def run(self) -> int:
        """Keep ``count`` workers running until a signal; return the exit status."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._stop)
        if hasattr(signal, "SIGHUP"):  # Windows has none
            signal.signal(signal.SIGHUP, lambda sig, _: self._send_signal(sig))
        for _ in range(self._count):
            self._start()
        while self._started:
            wait([process.sentinel for process in self._started])
            for process in [process for process in self._started if not process.is_alive()]:
                self._replace(process)
        return self._status

    def _start(self) -> None:
        if self._is_stopping.is_set():
            return
        told, has_started = Pipe(duplex=False)
        process = self._create_process(has_started)
        process.start()
        has_started.close()  # the process has its own, and the pipe ends with it
        self._started[process] = _Running(time.monotonic(), told)
        if self._is_stopping.is_set():  # a signal arrived before the process was registered, so it was not sent there
            process.terminate()

    def _replace(self, process: BaseProcess) -> None:
        worker = self._started.pop(process)
        could_not_start = not worker.has_served() and process.exitcode == NOT_STARTED
        if self._is_stopping.is_set():
            return
        if could_not_start and not self._has_older(worker.started_at):
            self._status = 1
            self._stop(signal.SIGTERM, None)
            return
        log.warning("a worker has died and is replaced", extra={"pid": process.pid, "status": process.exitcode})
        interval = FAILED_START_INTERVAL if could_not_start else RESTART_INTERVAL
        time.sleep(max(0.0, worker.started_at + interval - time.monotonic()))
        self._start()

    def _has_older(self, started: float) -> bool:
        """Tell whether a worker is alive that started earlier than one that failed to start: it has probably started to serve."""
        return any(process.is_alive() and worker.started_at < started for process, worker in self._started.items())

    def _stop(self, _sig: int, _frame: object) -> None:
        """Stop all workers by SIGTERM. Called a second time, it makes them exit at once."""
        self._is_stopping.set()
        # While any process has the socket open, the kernel accepts connections into the backlog, where they would hang.
        self._bound.close()
        self._send_signal(signal.SIGTERM)

    def _send_signal(self, sig: int) -> None:
        for process in list(self._started):
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, sig)
