"""Blueprint → findings: what is sound but unwise. Each rule is one small function; :mod:`gateway.develop.lint.rules.catalogue` is the whole list."""
