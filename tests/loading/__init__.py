"""Tests of files → Blueprint (gateway/load)."""
