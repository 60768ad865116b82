"""Outcomes → the response: its data, errors, completeness and trace (GraphQL spec 6.4.3 and 7; paper 5.5)."""
