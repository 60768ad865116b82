"""The virtual time of ``stepgraph test``, for this suite."""

from gateway.rehearsal.virtual_time import SLICE, SLICES, VirtualLoop, run

__all__ = ["SLICE", "SLICES", "VirtualLoop", "run"]
