"""Inner loops of the label setting, compiled; functions on plain arrays."""
