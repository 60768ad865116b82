"""Tests of the keys of the YAML."""
