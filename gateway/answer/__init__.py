"""Outcomes → the response: projection, errors, completeness, trace (GraphQL spec 6.4.3 and 7; paper 5.5)."""
