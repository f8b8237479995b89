"""What stages do whose layers choose by themselves whether they recompute: a small knapsack for each stage.

With f microbatches in flight a stage has to free what its activations are beyond its memory, in the least
time (`placer.plans.recompute_choice`).  That time rises with f, so a stage has one entry for each time that
differs: the time, and the most microbatches that may be in flight with it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import Device
from placer.instance.recompute_units import Units, units_of
from placer.options import Options
from placer.plans.in_flight import left_in_flight
from placer.plans.recompute import choices_of
from placer.plans.recompute_choice import fewest_recomputed
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["LayerChoices"]

CHOICE_S = 5e-4
"""Nominal seconds for a knapsack."""
MOST_CHOICES = 40_000
"""Knapsacks that are solved at most."""


class LayerChoices:
    """Solves the knapsacks of stages on devices of some kinds.

    Parameters
    ----------
    problem
        The items.
    options
        Which microbatches are in flight.
    longest_ms
        Stages that take longer are of no interest.
    run
        The clock.
    """

    def __init__(self, problem: Problem, options: Options, longest_ms: float, run: Run) -> None:
        self.problem, self.longest_ms, self.run = problem, longest_ms * (1 + EQUAL), run
        self.flights = left_in_flight(problem.instance, options)
        self.is_exact = True
        """Whether all times so far are the least ones."""
        self.solved = 0

    @property
    def has_room(self) -> bool:
        """Whether more knapsacks may be solved."""
        return self.solved < MOST_CHOICES

    @cached_property
    def units(self) -> Units:
        """The units of nodes that choose as one."""
        return units_of(self.problem.instance)

    @cached_property
    def _item(self) -> IntArray:
        """Item of each unit."""
        return np.array([self.problem.item[nodes[0]] for nodes in self.units.members])

    @cached_property
    def _figures(self) -> tuple[FloatArray, FloatArray]:
        """Time of computing units again, and their activations, ``(U, C)``."""
        instance = self.problem.instance
        activation = instance.class_kept_bytes[1]
        return self.units.again_ms(instance.class_time_ms), self.units.summed(activation)

    def entries(
        self, inside: BoolArray, device: Device, compute_ms: float, flights: float
    ) -> list[tuple[float, int]]:
        """Return times of computing again, rising, and most microbatches in flight with each.

        Parameters
        ----------
        inside
            Items of the stage, ``(N,)``.
        device
            Where it is.
        compute_ms
            What it computes in both directions when it recomputes nothing.
        flights
            Most microbatches that may be in flight then.
        """
        c, most = device.class_index, self.flights.at(len(self.problem.instance.devices))
        if flights >= most:
            return []
        first = max(1, int(flights)) + 1 if self.flights.by_stage else most
        items = np.flatnonzero(inside)
        again_ms, activation = (figures[:, c] for figures in self._figures)
        fixed = float(self.problem.class_bytes[0][items, c].sum())
        each = float(self.problem.class_bytes[1][items, c].sum())
        here = np.flatnonzero(inside[self._item]).tolist()
        out: list[tuple[float, int]] = []
        for f in range(first, most + 1):
            need = fixed + (f - 1) * each - device.memory_limit_bytes * (1 + MEMORY_TOLERANCE)
            self.solved += 1
            self.run.spend(CHOICE_S)
            self.run.check()
            choices = choices_of(self.units, here, again_ms, activation, f)
            found, exact = fewest_recomputed(choices, need)
            self.is_exact &= exact
            if found is None:
                break
            time = float(sum(choices.time_ms[g] for g in found))
            if compute_ms + time > self.longest_ms:
                break
            if out and time <= out[-1][0] * (1 + EQUAL):
                out[-1] = out[-1][0], f
            else:
                out.append((time, f))
        return out
