"""Tests of a configuration: a request and mocked upstreams → the answer, the plan and the calls, on virtual time and without a network."""
