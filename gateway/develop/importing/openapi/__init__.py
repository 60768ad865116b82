"""Import an OpenAPI 3.0 or 3.1 description: one operation per GET, and types for the responses."""

from gateway.develop.importing.openapi.configuration import import_openapi as import_openapi
