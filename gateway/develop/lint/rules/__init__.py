"""The lint rules, one file for each theme."""
