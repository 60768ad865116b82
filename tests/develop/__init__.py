"""Tests of tools for those who write a configuration."""
