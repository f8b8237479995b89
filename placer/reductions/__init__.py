"""Smaller problems with the same answer, and the way back; no solver, no search."""
