"""Latency of one sample by label setting over downsets."""
