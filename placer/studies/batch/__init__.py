"""Batches of instances and methods that survive whatever ends them."""

from placer.studies.batch.batch import Batch, solve_batch

__all__ = ["Batch", "solve_batch"]
