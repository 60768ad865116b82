"""Tests of outcomes → the response."""
