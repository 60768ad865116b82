"""Telemetry: counters, log lines and spans of requests and steps."""
