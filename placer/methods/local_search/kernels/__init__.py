"""Inner loops of the local search, compiled; functions on plain arrays."""
