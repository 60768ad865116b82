"""The settings → a JSON Schema for editors and a reference page for people."""
