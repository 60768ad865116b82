"""OpenAPI 3.0 and 3.1 → one operation for each GET, and types for what they answer."""

from gateway.develop.importing.openapi.configuration import import_openapi as import_openapi
