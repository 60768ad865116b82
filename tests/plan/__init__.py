"""Tests of what is selected → nodes and edges."""
