"""Tests of the small languages inside the YAML."""
