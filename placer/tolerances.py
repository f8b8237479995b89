"""Who may exceed whom, by how much, and why; relative to the larger figure where nothing else is said."""

from __future__ import annotations

__all__ = ["BOUND_TOLERANCE", "EQUAL", "MEMORY_TOLERANCE"]

EQUAL = 1e-9
"""Difference below which an objective and a bound are equal: sums of many doubles, added in another order."""
BOUND_TOLERANCE = 1e-6
"""Excess of a solver's bound over a verified objective that the solver's own tolerances explain."""
MEMORY_TOLERANCE = 1e-9
"""Excess over a memory limit that counts as rounding of the sum."""
