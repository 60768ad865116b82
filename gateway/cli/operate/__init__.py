"""Commands for operators of a gateway: demo, serve, versions, diff and rollback."""
