"""Non-contiguous throughput by column generation: sets of items priced by dynamic programs."""
