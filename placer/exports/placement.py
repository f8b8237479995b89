"""What every export starts from: a verified plan, its instance, and the order in which its parts run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from placer.arrays import IntArray
from placer.errors import UsageError
from placer.exports.module_order import Part, in_parts
from placer.instance.cluster import Device
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from placer.objectives import OBJECTIVES
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.plans.verify import violations
from placer.plans.virtual_stages import stage_of_nodes

__all__ = ["Placement"]


@dataclass(frozen=True, eq=False)
class Placement:
    """A verified plan with what it is about.

    Parameters
    ----------
    instance
        The instance.
    plan, result
        The plan and the document that it was read from.
    model
        The model file or factory that the user named, or None.
    """

    instance: Instance
    plan: Plan
    result: Result
    model: str | None = None

    @cached_property
    def forward(self) -> IntArray:
        """Forward nodes in the order of the instance; backward nodes follow them everywhere."""
        return np.flatnonzero(~self.instance.backward)

    def device(self, node: int) -> Device:
        """Device of a node."""
        return self.instance.devices[int(self.plan.device[node])]

    def label(self, device: int) -> str:
        """Name of a device by index, or names of the devices that share its stage, joined by ``+``."""
        group = next((team.devices for team in self.plan.teams if device in team.devices), (device,))
        return "+".join(self.instance.devices[d].name for d in group)

    @cached_property
    def accelerator_number(self) -> dict[int, int]:
        """Number of each accelerator, counted from 0, by device index."""
        accelerators = [d.index for d in self.instance.devices if not d.is_host]
        return {d: i for i, d in enumerate(accelerators)}

    def origins(self) -> Iterator[tuple[int, Origin]]:
        """Forward nodes that say what they stand for."""
        for v in self.forward.tolist():
            origin = self.instance.origin[v]
            if origin is not None:
                yield v, origin

    # -- parts ------------------------------------------------------------------------------------

    @cached_property
    def units(self) -> tuple[tuple[int, int], ...]:
        """The units that parts are made of: devices, or pieces ``(device, order)`` of a latency plan."""
        pairs = {self._unit_of(v) for v in self.forward.tolist()}
        return tuple(sorted(pairs))

    @cached_property
    def node_unit(self) -> dict[int, int]:
        """Index in `units` of every forward node."""
        number = {unit: i for i, unit in enumerate(self.units)}
        return {v: number[self._unit_of(v)] for v in self.forward.tolist()}

    @cached_property
    def unit_before(self) -> dict[int, int]:
        """The unit that must be finished before a unit starts: the previous piece of its accelerator."""
        return {
            i: i - 1
            for i, (device, _) in enumerate(self.units)
            if i and device == self.units[i - 1][0] and not self.instance.devices[device].is_host
        }

    @cached_property
    def whole_units(self) -> frozenset[int]:
        """Pieces of a latency plan, which run without a break; hosts run their nodes one by one."""
        if self.plan.piece is None:
            return frozenset()
        return frozenset(
            i for i, (device, _) in enumerate(self.units) if not self.instance.devices[device].is_host
        )

    def _unit_of(self, node: int) -> tuple[int, int]:
        piece = 0 if self.plan.piece is None else int(self.plan.piece[node])
        return int(self.plan.device[node]), piece

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Parts of the forward graph in a valid order of execution, one device each."""
        forward = self.forward.tolist()
        dense = {v: i for i, v in enumerate(forward)}
        parts = in_parts(
            [self.node_unit[v] for v in forward],
            [(dense[u], dense[w]) for u, w in self.instance.forward_edges.tolist()],
            self.unit_before,
            self.whole_units,
        )
        return tuple(Part(part.unit, tuple(forward[i] for i in part.nodes)) for part in parts)

    def part_device(self, part: Part) -> Device:
        """Device that runs a part."""
        return self.instance.devices[self.units[part.unit][0]]

    def chain(self, target: str) -> tuple[Part, ...]:
        """Parts of a pipeline: one per device, each feeding the next.

        Parameters
        ----------
        target
            What needs a chain, for the message.

        Raises
        ------
        UsageError
            When a device runs several parts, or neighbours are parallel branches.
        """
        for device, count in Counter(self.part_device(part).name for part in self.parts).items():
            if count > 1:
                raise UsageError(
                    f"{target} cannot express this plan: {device} runs {count} separate parts of the model, "
                    "and each device can be one stage only (plan with --contiguous and one piece per device)"
                )
        stage = {v: s for s, part in enumerate(self.parts) for v in part.nodes}
        linked = {(stage[u], stage[w]) for u, w in self.instance.forward_edges.tolist()}
        for s in range(len(self.parts) - 1):
            if (s, s + 1) not in linked:
                here, after = (self.part_device(self.parts[i]).name for i in (s, s + 1))
                raise UsageError(
                    f"{target} cannot express this plan: {here} and {after} hold parallel branches, "
                    "and stages must form a chain"
                )
        return self.parts

    def stages(self, target: str) -> tuple[tuple[int, ...], ...]:
        """Forward nodes of each stage of a pipeline, in order; of each virtual stage where there are such.

        Parameters
        ----------
        target
            What needs stages, for the message.

        Raises
        ------
        UsageError
            When the plan is no pipeline of stages, see `chain`.
        """
        if self.plan.chunk is None:
            return tuple(part.nodes for part in self.chain(target))
        at = stage_of_nodes(self.plan)
        count = len(self.plan.stages or ()) * self.result.options.virtual_stages
        return tuple(tuple(v for v in self.forward.tolist() if at[v] == s) for s in range(count))

    # -- what a target does differently -----------------------------------------------------------

    def run_elsewhere(
        self, device: Mapping[int, int], target: str, why: str, chunk: Mapping[int, int] | None = None
    ) -> list[str]:
        """Judge what it means that a target runs some nodes on other devices than planned.

        Parameters
        ----------
        device
            Device index by forward node, as the target will have it; the rest of their colocation groups
            follows them.
        target, why
            For the message.
        chunk
            Likewise the virtual stage of that device, for plans with virtual stages.

        Returns
        -------
        list of str
            A remark with the time per sample that results; nothing when nothing moves.

        Raises
        ------
        UsageError
            When the plan would then break a rule.
        """
        instance, options = self.instance, self.result.options
        moved, turn = self.plan.device.copy(), None if self.plan.chunk is None else self.plan.chunk.copy()
        for v, d in device.items():
            group = instance.colocate[v]
            together = v if group is None else instance.groups[group]
            moved[together] = d
            if turn is not None and chunk is not None:
                turn[together] = chunk[v]
        changed = moved != self.plan.device
        if turn is not None:
            changed |= turn != self.plan.chunk
        count = int(changed[self.forward].sum())
        if not count:
            return []
        is_host = np.array([d.is_host for d in instance.devices])[moved]
        piece = None if self.plan.piece is None else np.where(is_host, -1, 0)
        used = set(moved.tolist())
        plan = replace(
            self.plan,
            device=moved,
            piece=piece,
            stages=None if turn is None else self.plan.stages,
            recompute=tuple(d for d in self.plan.recompute if d in used),
            teams=tuple(team for team in self.plan.teams if team.devices[0] in used),
            chunk=turn,
        )
        broken = violations(instance, plan, options)
        if broken:
            raise UsageError(f"{target} cannot express this plan: {why}, and then {broken[0]}")
        before, after = (
            OBJECTIVES[options.objective].shown(objective_of(instance, p, options), 6)
            for p in (self.plan, plan)
        )
        return [f"{why} (nodes moved: {count}; {after} instead of {before})"]
