"""Tests of what a checked configuration means."""
