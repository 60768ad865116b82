"""Tests of what clients see."""
