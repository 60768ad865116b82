"""The demo's two sources: upstream services over HTTP (`upstream`) and a seeded SQLite file (`warehouse`)."""
