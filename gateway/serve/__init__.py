"""Requests → responses: admission, the generation that answers, HTTP, connections."""
