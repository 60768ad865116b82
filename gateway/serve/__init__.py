"""Requests → answers: admission, the generation that answers, HTTP, connections."""
