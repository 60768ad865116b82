"""What lives as long as one configuration: its plans, connection pools and caches."""
