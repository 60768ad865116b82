"""The text of a request → a document that may be asked; work done once per text.

Limits, parsing, validation, coercion of variables and arguments, selection (GraphQL spec 2, 5, 6.1 to 6.3).
"""
