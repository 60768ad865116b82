"""Blueprint → findings: what is sound but unwise. Each rule is one small function; :mod:`gateway.lint.rules` is the whole list."""
