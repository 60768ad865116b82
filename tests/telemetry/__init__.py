"""Tests of counters, log lines and spans."""
