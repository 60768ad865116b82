"""Bounds of time for tests on a machine that does other work at the same time."""

import os
import time
from collections.abc import Callable

SLACK = float(os.environ.get("STEPGRAPH_TIMING_SLACK", "1.5"))
"""Seconds that a busy machine may take longer than a test says; 0 on a quiet one."""

MEASUREMENTS = 5


def least_cpu_seconds(work: Callable[[], object], enough: float) -> float:
    """Measure the CPU time of some work: the least of a few measurements, or the first below ``enough``.

    Other processes make a measurement longer (they empty the CPU's caches), never shorter.
    """
    least = float("inf")
    for _ in range(MEASUREMENTS):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
        if least < enough:
            break
    return least
