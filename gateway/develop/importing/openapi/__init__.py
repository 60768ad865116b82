"""Import an OpenAPI 3.0 or 3.1 description: one operation per GET, and types for the responses."""
