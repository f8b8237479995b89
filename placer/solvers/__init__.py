"""Solver back ends: the only files that talk to a solver."""
