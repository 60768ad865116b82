"""Tests of requests → answers."""
