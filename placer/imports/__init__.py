"""From real models to instances: readers, cost models, granularity, training and the device catalogue."""
