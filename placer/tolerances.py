"""Who may exceed whom, by how much, and why; relative to the larger figure where nothing else is said."""

from __future__ import annotations

__all__ = [
    "BOUND_MARGIN",
    "BOUND_TOLERANCE",
    "CERTAIN",
    "EQUAL",
    "EXACT",
    "FEASIBILITY",
    "MEMORY_TOLERANCE",
    "POINT_TOLERANCE",
    "PROGRAM_MARGIN",
]

EQUAL = 1e-9
"""Difference below which an objective and a bound are equal: sums of many doubles, added in another order.

Also the slack of comparisons with a bound, on the safe side, and what is taken off a sum that is a bound."""
BOUND_TOLERANCE = 1e-6
"""Excess of a solver's bound over a verified objective that the solver's own tolerances explain,
between methods as well; absolute in programs whose objective is below 1."""
FEASIBILITY = 1e-7
"""Absolute tolerance of the solver on rows, bounds and integrality of programs whose objective is near 100 or
at most 1: what it rounds is off by this times the largest coefficient."""
POINT_TOLERANCE = 1e-5
"""What a point of the solver may break a row or bound by: its largest tolerance, with room for rescaling."""
MEMORY_TOLERANCE = 1e-9
"""Excess over a memory limit that counts as rounding of the sum."""
CERTAIN = 1 - 1e-11
"""Factor of bounds that a search over downsets proves: its sums add each item once."""
EXACT = 2e-10
"""Distance between the best objective and the largest target that such a search asks for: more than its
rounding, and little enough that two of it are within `EQUAL`."""
BOUND_MARGIN = 9.5e-7
"""Taken off a bound on throughput, as a share of the unit: nearly ten times what `FEASIBILITY` allows."""
PROGRAM_MARGIN = 1e-6
"""What the solver's tolerances may add to a bound on latency, as a share of the upper bound."""
