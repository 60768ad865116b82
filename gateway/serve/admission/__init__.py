"""Who is let in: concurrency limits, load shedding, rate limits."""
