"""Worker processes that share a listening socket: one that dies is replaced, signals are passed on, and the end is the end of the last."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

log = logging.getLogger("stepgraph.workers")

NOT_STARTED = 3
"""The status of a worker that could not begin to serve. While no other one has, none can, and that is the end."""
GAP = 1.0
"""Seconds between two starts in the same place, so that one that dies at once does not keep the machine busy."""
LONG_GAP = 5.0
"""The same for one that could not begin to serve: to find that out takes most of a second of a processor that others need."""


class Workers:
    """The workers of a supervisor, which is this process. ``process`` makes one that has not started."""

    def __init__(self, process: Callable[[], BaseProcess], count: int, bound: socket.socket) -> None:
        self._process = process
        self._count = count
        self._bound = bound
        self._started: dict[BaseProcess, float] = {}
        """The processes and when they started."""
        self._ending = threading.Event()
        self._status = 0

    def run(self) -> int:
        """Keep so many workers running until a signal; return the exit status."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._end)
        if hasattr(signal, "SIGHUP"):  # Windows has none
            signal.signal(signal.SIGHUP, lambda sig, _: self._tell(sig))
        for _ in range(self._count):
            self._start()
        while self._started:
            wait([process.sentinel for process in self._started])
            for process in [process for process in self._started if not process.is_alive()]:
                self._replace(process)
        return self._status

    def _start(self) -> None:
        if self._ending.is_set():
            return
        process = self._process()
        process.start()
        self._started[process] = time.monotonic()
        if self._ending.is_set():  # the signal came in between
            process.terminate()

    def _replace(self, process: BaseProcess) -> None:
        started = self._started.pop(process)
        if self._ending.is_set():
            return
        if process.exitcode == NOT_STARTED and not self._has_older(started):
            self._status = 1
            self._end(signal.SIGTERM, None)
            return
        log.warning("a worker has died; another one takes its place", extra={"pid": process.pid, "status": process.exitcode})
        gap = LONG_GAP if process.exitcode == NOT_STARTED else GAP
        time.sleep(max(0.0, started + gap - time.monotonic()))
        self._start()

    def _has_older(self, started: float) -> bool:
        """Tell whether a worker runs that started earlier, and so has come further than one that could not begin to serve."""
        return any(process.is_alive() and since < started for process, since in self._started.items())

    def _end(self, _sig: int, _frame: object) -> None:
        """Have all workers end as they do on SIGTERM; a second time they end at once."""
        self._ending.set()
        self._bound.close()  # or else connections would be taken that nobody accepts
        self._tell(signal.SIGTERM)

    def _tell(self, sig: int) -> None:
        for process in list(self._started):
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, sig)
