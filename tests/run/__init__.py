"""Tests of plan → outcomes."""
