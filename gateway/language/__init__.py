"""The small languages inside the YAML: templates, expressions, scalars, environment variables, Python classes. None depends on the configuration."""
