"""The virtual time of ``stepgraph test``, for the tests of this repository."""

from gateway.develop.testing.virtual_time import SLICE, SLICES, VirtualLoop, run

__all__ = ["SLICE", "SLICES", "VirtualLoop", "run"]
