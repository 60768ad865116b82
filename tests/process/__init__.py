"""Tests of the ways in, as whole processes."""
