"""An existing API or database (OpenAPI description, GraphQL endpoint, SQL database) → configuration files and SDL for it.

One package or module per kind returns an :class:`~gateway.develop.importing.result.Imported`, which has the texts by file name; only
``folder`` writes files. The files are meant to be read, changed and kept: nothing links them to their origin.
"""
