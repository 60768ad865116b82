"""The process that runs tests → its share of what all processes have in common.

``make test`` runs the tests in several processes (pytest-xdist). Temporary folders are apart by pytest itself; ports and databases
are apart by what is here. In a run without workers the only process is ``gw0``.
"""

import os

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
"""The name of this process: ``gw0``, ``gw1`` and so on."""

MOST_WORKERS = 12

_FIRST, _EACH = 20_000, 1_000
_START = _FIRST + int(WORKER.removeprefix("gw")) % MOST_WORKERS * _EACH

PORTS = range(_START, _START + _EACH)
"""The ports of this process, below those that Linux hands out by itself (from 32,768)."""

CLOSED_PORTS = range(_FIRST + MOST_WORKERS * _EACH, 32_768)
"""Ports on which no test listens."""
