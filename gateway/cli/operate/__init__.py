"""Commands for those who run a gateway: demo, serve, versions and rollback."""
