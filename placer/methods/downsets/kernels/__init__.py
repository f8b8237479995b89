"""Inner loops of the threshold search, compiled; functions on plain arrays."""
