"""Operate a running gateway: reload, history, rollback, the admin listener, metrics."""
