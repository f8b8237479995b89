"""Checking a training plan: what comes once per step is computed again from the instance and the cluster.

The rules are stated here once more and share no code with the search (`choice_costs`, `groups`): where the
replicas of a stage are follows from counting devices, and what an update moves from what is kept per weight.

Per stage with W bytes of weights on each of its devices, d replicas and ZeRO z:

- an update reads gradients, reads and writes the state that is kept, and writes weights, which it reads as
  well unless there are master weights; with z >= 1 each replica updates a d-th;
- summing gradients in a ring takes 2 (d - 1) / d of W over the link between the replicas, in 2 (d - 1)
  messages; with z = 2 gradients were scattered before, and half of it is left, to gather weights.

The longest stage counts, since all stages do this at the same time.
"""

from __future__ import annotations

from placer.errors import InputError
from placer.imports.catalogue import Cluster
from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance
from placer.instance.training import STATE_FACTOR, Optimizer
from placer.plans.check import check
from placer.plans.result import Result, gap_of
from placer.studies.training.training_plan import TrainingPlan
from placer.tolerances import EQUAL

__all__ = ["once_per_step_ms", "training_violations"]


def training_violations(
    plan: TrainingPlan, instance: Instance, result: Result, cluster: Cluster
) -> list[str]:
    """List what of the best choice does not hold, in words; an empty list means that it holds.

    Parameters
    ----------
    plan
        The training plan; its bound is the search's claim, and only has to be below the time.
    instance, result
        The instance whose devices are groups, and the plan on it.
    cluster
        The devices.
    """
    found = check(instance, result)
    if found or result.objective is None:
        return found or ["the best choice has no plan"]
    row, group = plan.tried[0], instance.training.group
    expected = {
        "replicas": group.replicas,
        "shards": group.shards,
        "zero": group.zero,
        "apart": group.apart,
        "virtual_stages": result.options.virtual_stages,
        "microbatches": instance.training.microbatches,
        "microbatch": instance.training.samples,
    }
    for key, value in expected.items():
        if getattr(row, key) != value:
            found.append(f"{key} of the best choice is {value}, not {getattr(row, key)}")
    once = once_per_step_ms(instance, result, cluster, plan.request.optimizer)
    step = result.objective + once
    for key, got, right in (
        ("once_ms", row.once_ms, once),
        ("step_ms", row.step_ms, step),
        ("step_ms of the document", plan.step_ms, step),
        ("samples_per_s", row.samples_per_s, 1e3 * plan.request.global_batch / step),
        ("gap", plan.gap, gap_of(step, plan.bound_ms)),
    ):
        if got is None or right is None or abs(got - right) > EQUAL * max(1.0, abs(right)):
            found.append(f"{key} is {right!r}, not {got!r}")
    if plan.bound_ms is not None and plan.bound_ms > step * (1 + EQUAL):
        found.append(f"the bound {plan.bound_ms!r} is above the step {step!r}")
    return found


def once_per_step_ms(instance: Instance, result: Result, cluster: Cluster, optimizer: Optimizer) -> float:
    """Return what comes after the pipeline has run empty: the longest that a stage takes.

    Raises
    ------
    InputError
        When the groups are not of devices of the cluster.
    """
    group, weights = instance.training.group, dict(zip(instance.ids, instance.weight_bytes, strict=True))
    moved = 2 * (STATE_FACTOR[optimizer] - 2) + 2 + (optimizer is not Optimizer.MIXED_ADAM)
    longest = 0.0
    for report in result.devices:
        if not report.nodes:
            continue
        device = instance.devices[instance.device_index[report.name]]
        cls = _members(instance.classes[device.class_index], cluster, group.replicas * group.shards)
        entry, link = cluster.types[cls.type], _between_replicas(instance, cluster, cls)
        size = float(sum(weights[v] for v in report.nodes))
        if optimizer is Optimizer.NONE:
            size = 0.0
        bandwidth = entry.bandwidth_gb_per_s * 1e6 * entry.bandwidth_efficiency  # bytes per ms
        update = moved * size / bandwidth / (group.replicas if group.zero else 1)
        messages = (1 if group.zero == 2 else 2) * (group.replicas - 1)
        rate = link.bandwidth_bytes_per_s
        sums = 0.0 if rate is None else messages / group.replicas * size * 1e3 / rate
        longest = max(longest, update + sums + messages * link.latency_ms)
    return longest


def _members(groups: DeviceClass, cluster: Cluster, width: int) -> DeviceClass:
    """Find the class of devices that groups consist of, by their name."""
    for cls in cluster.classes:
        name = cls.name if width == 1 else f"{width}x{cls.name}"
        if groups.name.rstrip("-") == name.rstrip("-"):
            return cls
    raise InputError(f"{groups.name} are no groups of {width} devices of {cluster.name}")


def _between_replicas(instance: Instance, cluster: Cluster, cls: DeviceClass) -> Link:
    """Return the link over which replicas sum: the uplink where those of a stage are in several servers."""
    group = instance.training.group
    names = [cls.member(k) for k in range(cls.count)]
    server = {name: s for s, one in enumerate(cluster.servers) for name in one.devices}
    homes = sorted(server.get(name, server.get(cls.name, 0)) for name in names)
    stages = cls.count // (group.replicas * group.shards)
    along = (stages, 1) if group.apart else (1, group.replicas)  # to the next replica, to the next stage
    spread = any(
        len({homes[(r * along[0] + k * along[1]) * group.shards] for r in range(group.replicas)}) > 1
        for k in range(stages)
    )
    if not spread:
        return cls.link
    both = (cls.link, cluster.servers[0].uplink)
    return min(both, key=lambda link: link.bandwidth_bytes_per_s or float("inf"))
