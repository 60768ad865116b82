"""Tools for those who write a configuration: lint, tests, imports, reference, playground."""
