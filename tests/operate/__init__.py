"""Tests of change while it runs."""
