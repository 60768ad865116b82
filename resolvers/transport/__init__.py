"""HTTP calls to upstreams: the transport contract, two implementations of it, and what they share."""
