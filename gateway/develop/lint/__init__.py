"""Blueprint → findings: what is valid but unwise. Each rule is one small function; :mod:`gateway.develop.lint.rules.catalogue` lists all."""
