"""Blueprint → the GraphQL schema that clients see, and the changes between two blueprints."""
