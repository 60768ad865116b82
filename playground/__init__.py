"""What a newcomer runs to try Stepgraph: demo services with their data, pages for the browser."""
