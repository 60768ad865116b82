"""Which requests are admitted: concurrency limits, load shedding, rate limits."""
