"""Blueprint → what clients see: the GraphQL schema, and what changes between two of them."""
