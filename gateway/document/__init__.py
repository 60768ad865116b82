"""The text of a request → a parsed, validated document; this work is done once per text.

Limits, parsing, validation, coercion of variables and arguments, selection (GraphQL spec 2, 5, 6.1 to 6.3).
"""
