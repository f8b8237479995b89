"""Benchmarks that users can run; the tests do not."""
