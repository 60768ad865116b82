"""Tests of step types, transports and databases."""
