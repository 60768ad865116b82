"""The bytes of a client's connection ↔ complete HTTP requests and responses."""
