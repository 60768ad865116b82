"""A door: the generated schema as a Strawberry schema, for other Python applications (see :mod:`gateway.process.embed`)."""

from gateway.process.embed import embedded_schema

__all__ = ["embedded_schema"]
