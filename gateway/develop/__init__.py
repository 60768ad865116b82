"""Tools for authors of a configuration: lint, tests, imports, reference, playground."""
