"""Tests of a configuration: a request and mocked upstreams → response, plan and calls, on virtual time and without a network."""
