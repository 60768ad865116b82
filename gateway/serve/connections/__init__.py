"""The bytes of a client's connection ↔ whole HTTP requests and responses."""
