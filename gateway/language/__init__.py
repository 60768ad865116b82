"""The small languages inside the YAML: templates, expressions, scalars, environment variables, Python classes. They know nothing of configuration."""
