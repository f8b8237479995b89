"""Programs for the latency of one sample."""
