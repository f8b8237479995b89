"""Programs for the throughput of a pipeline."""
