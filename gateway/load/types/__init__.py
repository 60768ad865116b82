"""SDL and Python classes → GraphQL types."""
