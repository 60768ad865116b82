"""A description of something that is there already (OpenAPI, a GraphQL endpoint, a database) → configuration and SDL for it.

One package or module per kind makes an :class:`~gateway.develop.importing.result.Imported`, which is texts by file name; only
``folder`` writes files. What is made is meant to be read, changed and kept: nothing refers back to where it came from.
"""
