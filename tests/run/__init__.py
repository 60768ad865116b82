"""Tests of the engine, which runs plans."""
