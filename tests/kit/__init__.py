"""What several tests use: servers, clocks, upstreams, databases, configurations."""
