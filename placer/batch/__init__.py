"""Batches of instances and methods that survive whatever ends them."""
