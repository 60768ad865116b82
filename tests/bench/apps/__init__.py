"""The rivals in Python."""
