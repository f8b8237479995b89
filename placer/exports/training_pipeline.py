"""A training plan as launchers of training see it: stages in order, and the same degrees for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from placer.errors import UsageError
from placer.exports.layer_stack import LayerStack, layer_stack, outside
from placer.exports.placement import Placement
from placer.instance.modes import ALONE, Mode
from placer.instance.training import DeviceGroup
from placer.options import Schedule
from placer.plans.step_time import microbatches_of

__all__ = ["TrainingPipeline", "training_pipeline"]


@dataclass(frozen=True, eq=False)
class TrainingPipeline:
    """A plan whose stages hold layers, as launchers see it.

    Parameters
    ----------
    placement, target
        The plan, and the launcher, for messages.
    stages
        Forward nodes of each (virtual) stage, in pipeline order.
    devices
        Indices of the devices that run them, in the order in which the pipeline goes round.
    stack
        The layers.
    mode
        Replicas and shards of every stage, groups and teams taken together.
    group
        What each device of the instance stands for.
    microbatches
        Microbatches that pass each replica in a step.
    samples
        Samples of one; None when unknown.
    """

    placement: Placement
    target: str
    stages: tuple[tuple[int, ...], ...]
    devices: tuple[int, ...]
    stack: LayerStack
    mode: Mode
    group: DeviceGroup
    microbatches: int
    samples: int | None

    @property
    def ranks(self) -> int:
        """Stages that are on devices of their own."""
        return len(self.devices)

    @property
    def chunks(self) -> int:
        """Virtual stages of each rank."""
        return len(self.stages) // self.ranks

    @property
    def schedule(self) -> Schedule:
        """Order in which a stage serves the microbatches."""
        return self.placement.result.options.schedule

    @property
    def global_batch(self) -> int | None:
        """Samples of a step; None when unknown."""
        return None if self.samples is None else self.samples * self.microbatches * self.mode.replicas

    @property
    def names(self) -> list[str]:
        """What messages call each stage: its device."""
        return _names(self.placement, self.stages, self.devices)

    @property
    def head(self) -> list[str]:
        """What a reader of the file wants to know first: lines for a comment."""
        count = self.ranks * self.mode.width
        names = ", ".join(self.placement.label(d) for d in self.devices)
        return [
            f"{self.placement.instance.name}: {count} devices in {self.ranks} pipeline ranks",
            f"pipeline ranks in order: {names}",
        ]

    def recomputes(self) -> bool:
        """Whether stages compute their activations again: all of them that hold layers, or none.

        Raises
        ------
        UsageError
            When only some do, or single nodes.
        """
        if again := self.placement.plan.again:
            raise UsageError(
                f"{self.target} cannot express this plan: {self.placement.instance.names[again[0]]} "
                "recomputes by itself, and all stages do the same (plan with --recompute all or none)"
            )
        holding = {self.devices[s % self.ranks] for s, own in enumerate(self.stack.layers) if own}
        some = holding.intersection(self.placement.plan.recompute)
        if some and some != holding:
            here, there = (self.placement.label(min(d)) for d in (some, holding - some))
            raise UsageError(
                f"{self.target} cannot express this plan: {here} recomputes activations, {there} does not, "
                "and all stages do the same (plan with --recompute all or none)"
            )
        return bool(some)

    def ends(self) -> tuple[list[int], list[int]]:
        """Forward nodes with weights before the layers, and after them."""
        return outside(self.placement, self.stack)

    def at_the_ends(self) -> list[str]:
        """Judge what it means that a target puts all before the layers first, all after them last.

        Raises
        ------
        UsageError
            When the plan would then break a rule.
        """
        before, after = self.ends()
        first, last = self.devices[0], self.devices[-1]
        return self.placement.run_elsewhere(
            dict.fromkeys(before, first) | dict.fromkeys(after, last),
            self.target,
            "what is before the layers runs on the first stage, what is after on the last",
            dict.fromkeys(before, 0) | dict.fromkeys(after, self.chunks - 1),
        )

    def check_one_f_one_b(self) -> None:
        """Refuse other schedules, for targets that have no other.

        Raises
        ------
        UsageError
            When the plan is for another.
        """
        if self.schedule is not Schedule.ONE_F_ONE_B and self.ranks > 1:
            raise UsageError(
                f"{self.target} cannot express this plan: it runs 1F1B alone, and the plan is for "
                f"{self.schedule} (plan with --schedule 1f1b)"
            )

    def unknown_samples(self, name: str) -> list[str]:
        """Say what has to be added where the size of a microbatch is not known."""
        if self.samples is not None:
            return []
        return [f"the instance does not say how many samples a microbatch has: add {name}"]


def training_pipeline(placement: Placement, target: str) -> tuple[TrainingPipeline, list[str]]:
    """Read stages and degrees out of a plan.

    Parameters
    ----------
    placement, target
        The plan, and what needs it, for messages.

    Returns
    -------
    pipeline, remarks

    Raises
    ------
    UsageError
        When the plan is none for training, is no chain of accelerators, splits layers, or its stages have
        different degrees.
    """
    instance, plan = placement.instance, placement.plan
    if not instance.is_training:
        raise UsageError(f"{target} is for plans of training (import the model with --training)")
    stages = placement.stages(target)
    devices = plan.stages if plan.chunk is not None else None
    devices = devices or tuple(placement.part_device(part).index for part in placement.parts)
    for d in devices:
        if instance.devices[d].is_host:
            raise UsageError(
                f"{target} cannot express this plan: {instance.devices[d].name} is no accelerator"
            )
    stack = layer_stack(placement, stages, _names(placement, stages, devices), target)
    if stack.others:
        raise UsageError(
            f"{target} cannot express this plan: it divides one stack of layers, and the model has "
            f"{' and '.join((stack.name, *stack.others))}"
        )
    team = _mode(placement, devices, target)
    group = instance.training.group
    microbatches, samples, remarks = _share(placement, team.replicas, target)
    zero = max(group.zero, team.zero if team.replicas > 1 else 0)
    mode = Mode(team.replicas * group.replicas, team.shards * group.shards, zero)
    made = TrainingPipeline(placement, target, stages, devices, stack, mode, group, microbatches, samples)
    return made, remarks


def _names(placement: Placement, stages: tuple[tuple[int, ...], ...], devices: tuple[int, ...]) -> list[str]:
    names = [placement.label(d) for d in devices]
    if len(stages) == len(devices):
        return names
    return [f"virtual stage {s + 1} on {names[s % len(names)]}" for s in range(len(stages))]


def _mode(placement: Placement, devices: tuple[int, ...], target: str) -> Mode:
    """Return the mode that all stages have."""
    modes = {team.devices[0]: team.mode for team in placement.plan.teams}
    first = modes.get(devices[0], ALONE)
    for d in devices[1:]:
        mode = modes.get(d, ALONE)
        if mode != first:
            here, there = (
                f"{placement.label(stage)} ({m.replicas} replicas, {m.shards} shards)"
                for stage, m in ((devices[0], first), (d, mode))
            )
            raise UsageError(
                f"{target} cannot express this plan: {here} and {there} differ, and all stages have the "
                "same degrees (plan with --uniform)"
            )
    return first


def _share(placement: Placement, replicas: int, target: str) -> tuple[int, int | None, list[str]]:
    """Microbatches of each replica, and samples of them; by the plan each replica has its share of each."""
    count = microbatches_of(placement.instance, placement.result.options)
    samples = placement.instance.training.samples
    if samples is None:
        return count, None, []
    if samples % replicas == 0:
        return count, samples // replicas, []
    if count % replicas:
        raise UsageError(
            f"{target} cannot express this plan: {replicas} replicas can share neither {samples} samples "
            f"of a microbatch nor {count} microbatches"
        )
    why = (
        f"each of {replicas} replicas gets {count // replicas} whole microbatches of {samples} samples, "
        "where the plan gives it its share of each: the pipeline takes longer to fill"
    )
    return count // replicas, samples, [why]
