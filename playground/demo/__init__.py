"""The demo's sources: upstream services over HTTP (`upstream`), a seeded SQLite file (`warehouse`), Parquet files (`lake`)."""
