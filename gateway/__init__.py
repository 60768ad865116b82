"""Stepgraph: a GraphQL federation gateway whose graph is configuration.

The folders read as the pipeline: language, settings, blueprint, contract, schema, document, load, plan, run, answer, telemetry, serve, operate,
develop, process, cli. CONTRIBUTING has a row for each.
"""

__version__ = "0.4.0"
