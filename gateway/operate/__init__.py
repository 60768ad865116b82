"""Change while the gateway runs: reload, history, rollback, the admin listener, metrics."""
