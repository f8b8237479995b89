"""Who may exceed whom, by how much, and why; relative to the larger figure where nothing else is said."""

from __future__ import annotations

__all__ = ["BOUND_TOLERANCE", "EQUAL", "FEASIBILITY", "MEMORY_TOLERANCE", "POINT_TOLERANCE"]

EQUAL = 1e-9
"""Difference below which an objective and a bound are equal: sums of many doubles, added in another order."""
BOUND_TOLERANCE = 1e-6
"""Excess of a solver's bound over a verified objective that the solver's own tolerances explain; absolute in
programs whose objective is below 1."""
FEASIBILITY = 1e-7
"""Absolute tolerance of the solver on rows, bounds and integrality of programs whose objective is near 100 or
at most 1: what it rounds is off by this times the largest coefficient."""
POINT_TOLERANCE = 1e-5
"""What a point of the solver may break a row or bound by: its largest tolerance, with room for rescaling."""
MEMORY_TOLERANCE = 1e-9
"""Excess over a memory limit that counts as rounding of the sum."""
