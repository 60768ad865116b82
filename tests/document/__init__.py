"""Tests of the text of a request."""
