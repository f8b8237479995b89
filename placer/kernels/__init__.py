"""Compiled inner loops: numba functions on arrays, one concern per file."""
