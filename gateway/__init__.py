"""Stepgraph: a GraphQL federation gateway whose graph is configuration.

The modules read as the pipeline ``load → compile → plan → run → assemble → project``; CONTRIBUTING lists them in order.
"""

__version__ = "0.1.0"
