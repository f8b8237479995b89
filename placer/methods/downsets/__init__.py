"""Contiguous throughput by search over downsets: arrays, work measures, the search itself, lower bounds."""
