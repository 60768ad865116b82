"""Shared test fixtures and helpers: servers, clocks, upstreams, databases, configurations."""
