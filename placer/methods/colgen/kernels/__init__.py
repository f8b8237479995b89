"""Inner loops of pricing and annealing, compiled; functions on plain arrays."""
