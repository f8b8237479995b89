"""Many solves: methods side by side, sweeps, batches; nothing that a single solve needs."""
