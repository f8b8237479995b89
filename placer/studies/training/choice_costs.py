"""A choice as an instance: each device is a group that runs a stage, each sample a microbatch of a replica.

Times are those of one replica; its devices split nodes, and sum up their results over their link (ring).
Once per step the replicas sum their gradients, and every device updates the weights whose optimizer state it
keeps:

``zero 0``  2 (d − 1) / d of the gradients pass each device's link; each updates all its weights
``zero 1``  the same bytes: a reduce-scatter of gradients and an all-gather of weights; each updates 1/d
``zero 2``  the reduce-scatter follows every microbatch, as no device keeps gradients that are not its own

An update reads and writes optimizer state, gradients and weights once (`UPDATE`).
Sources: Patarasuk and Yuan, 2009 (rings); Rajbhandari et al., 2020 (ZeRO).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.imports.catalogue import Cluster
from placer.instance.cluster import Link
from placer.instance.instance import Instance
from placer.instance.modes import Mode
from placer.instance.training import DeviceGroup, Optimizer, Training, kept_per_weight
from placer.studies.training.groups import Groups
from placer.studies.training.training_choices import Choice, TrainingRequest

__all__ = ["Base", "StepCosts", "step_costs"]

UPDATE = {
    Optimizer.NONE: 0.0,
    Optimizer.SGD: 3.0,  # reads gradient and weight, writes the weight
    Optimizer.MOMENTUM: 5.0,  # and reads and writes the moment
    Optimizer.ADAM: 7.0,  # and another one
    Optimizer.MIXED_ADAM: 14.0,  # 16-bit gradient and weight; 32-bit master weight and two moments, both ways
}
"""Bytes that an update reads and writes, per byte of weights."""


@dataclass(frozen=True, eq=False)
class Base:
    """A model with microbatches of one size.

    Parameters
    ----------
    whole
        Unsplit: what stages send each other.
    each
        As each of the devices that split its nodes has it.
    collective_bytes
        What these devices sum up whenever a node runs, ``(n,)``.
    """

    whole: Instance
    each: Instance
    collective_bytes: FloatArray


@dataclass(frozen=True, eq=False)
class StepCosts:
    """A choice as an instance, and what happens once per step.

    Parameters
    ----------
    choice
        The choice.
    instance
        Its devices are groups.
    once_ms
        Time of each node once per step, by class of groups, ``(n, C)``.
    start_ms
        What each stage takes beside, by class, ``(C,)``.
    """

    choice: Choice
    instance: Instance
    once_ms: FloatArray
    start_ms: FloatArray

    def once_of(self, devices: IntArray) -> float:
        """Time after the pipeline has run empty: the longest that a stage takes; ``devices`` by node."""
        cls = self.instance.device_class[devices]
        total = np.zeros(len(self.instance.devices))
        np.add.at(total, devices, self.once_ms[np.arange(self.instance.n), cls])
        used = np.unique(devices)
        return float((total[used] + self.start_ms[self.instance.device_class[used]]).max())

    @property
    def least_once_ms(self) -> float:
        """Return what the longest stage takes at least, whatever the plan."""
        each = self.once_ms.min(axis=1)
        groups = list(self.instance.groups.values())
        largest = max([float(each[g].sum()) for g in groups], default=float(each.max(initial=0.0)))
        share = float(each.sum()) / min(len(self.instance.devices), self.instance.n)
        return max(largest, share) + float(self.start_ms.min())


def step_costs(
    model: Base, cluster: Cluster, groups: Groups, choice: Choice, request: TrainingRequest
) -> StepCosts:
    """Make the instance of a choice.

    Parameters
    ----------
    model
        The model with microbatches of this size.
    cluster, groups
        The devices, and their groups.
    choice, request
        What is chosen, and asked for.
    """
    each = model.each
    beside = kept_per_weight(request.optimizer, Mode(choice.replicas, zero=choice.zero)) - 1.0
    classes, times, once, start = [], [], [], []
    for cls, c, sums in zip(groups.classes, groups.source, groups.sums, strict=True):
        time, after, latency = _on_class(model, cluster, c, sums, choice, request)
        times.append(time)
        once.append(after)
        start.append(latency)
        reserve = each.classes[c].memory_reserve_bytes, each.classes[c].memory_reserve_share
        classes.append(
            dataclasses.replace(
                cls, type=cls.name, memory_reserve_bytes=reserve[0], memory_reserve_share=reserve[1]
            )
        )
    instance = each.replace(
        name=f"{each.name} {choice.name}",
        types=tuple(cls.type for cls in classes),
        time_ms=np.stack(times, axis=1),
        memory_bytes=each.memory_bytes + each.weight_bytes * beside,
        output_bytes=model.whole.output_bytes,
        classes=tuple(classes),
        servers=groups.servers,
        training=Training(
            Optimizer.NONE,
            choice.microbatches(request.global_batch),
            choice.microbatch,
            DeviceGroup(
                choice.replicas,
                choice.shards,
                choice.zero,
                choice.apart,
                request.sequence_parallel and choice.shards > 1,
            ),
        ),
    )
    return StepCosts(choice, instance, np.stack(once, axis=1), np.array(start))


def _on_class(
    model: Base, cluster: Cluster, c: int, sums: Link, choice: Choice, request: TrainingRequest
) -> tuple[FloatArray, FloatArray, float]:
    """Return the times of all nodes on groups of a class: per microbatch, once per step, and beside that."""
    d, t = choice.replicas, choice.shards
    cls, device = cluster.classes[c], cluster.types[cluster.classes[c].type]
    exchanged, weights = model.collective_bytes, model.each.weight_bytes
    time = model.each.class_time_ms[:, c] + cls.link.ring_ms(exchanged, t)
    time += np.where(exchanged > 0, 2 * (t - 1) * cls.link.latency_ms, 0.0)
    moved = weights * UPDATE[request.optimizer] / (d if choice.zero >= 1 else 1)
    update = 1e3 * moved / (device.bandwidth_gb_per_s * 1e9 * device.bandwidth_efficiency)
    trains = request.optimizer is not Optimizer.NONE
    trained = weights if trains else 0.0 * weights
    passes = 2
    if choice.zero >= 2:
        passes = 1
        own = model.each.gradient_bytes[1] if trains else trained
        time += sums.ring_ms(own, d, 1) + np.where(own > 0, (d - 1) * sums.latency_ms, 0.0)
    return time, update + sums.ring_ms(trained, d, passes), passes * (d - 1) * sums.latency_ms
