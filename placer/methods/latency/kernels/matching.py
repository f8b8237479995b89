"""Matching two downsets: nodes that stay live, nodes that a step makes, groups that stay open."""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.latency.kernels.views import LatticeView, Step

__all__ = ["match_lists"]


def match_lists(step: Step, lattice: LatticeView, old: int, new: int) -> None:
    """Match live nodes and open groups of two downsets (both lists ascend)."""
    _match_live(step, lattice, old, new)
    _match_open(step, lattice, old, new)


def _match_live(step: Step, lattice: LatticeView, old: int, new: int) -> None:
    step.keeps = step.makes = 0
    first, end = lattice.live_start[old], lattice.live_start[old + 1]
    at = first
    for p in range(lattice.live_start[new], lattice.live_start[new + 1]):
        u = lattice.live[p]
        while at < end and lattice.live[at] < u:
            at += 1
        if at < end and lattice.live[at] == u:
            step.kept_old[step.keeps] = at - first
            step.kept_new[step.keeps] = p - lattice.live_start[new]
            step.keeps += 1
        else:
            step.made[step.makes] = p - lattice.live_start[new]
            step.made_node[step.makes] = u
            step.makes += 1


def _match_open(step: Step, lattice: LatticeView, old: int, new: int) -> None:
    first, end = lattice.open_start[old], lattice.open_start[old + 1]
    at = first
    for p in range(lattice.open_start[new], lattice.open_start[new + 1]):
        g = lattice.open[p]
        while at < end and lattice.open[at] < g:
            at += 1
        found = at < end and lattice.open[at] == g
        step.group_old[p - lattice.open_start[new]] = at - first if found else -1
