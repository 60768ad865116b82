"""What became of requests and steps → counters, log lines, spans."""
