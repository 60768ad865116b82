"""Tests of what became of requests and steps."""
