"""Tests under load, each a minute or more."""
