"""Small random instances with chosen features, for tests of features against each other."""

from dataclasses import dataclass, replace

import numpy as np

from placer.instance.cluster import Link, Server
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.shards import Shards
from placer.instance.training import Optimizer, Training
from tests.support.random_instances import random_instance

FEATURES = (
    "classes",
    "reserves",
    "host limits",
    "order",
    "in flight",
    "recompute",
    "layers",
    "replicas",
    "shards",
    "zero",
    "uniform",
    "servers",
    "pins",
    "apart",
    "max devices",
    "use devices",
    "balance",
    "near",
)

BYTES_PER_MS = 4.0
"""On links without a factor."""


@dataclass(frozen=True)
class Case:
    """An instance, options that ask for the rest of the features, and those for the brute force."""

    instance: Instance
    options: dict[str, object]
    replicas: int = 1
    recompute: str = "none"
    near: dict[str, str] | None = None
    balance: bool = False
    slack: float = 0.0
    shards: int | tuple[int, ...] = 1
    degrees: tuple[int, ...] = (1,)
    zero: int = 0
    uniform: bool = False

    @property
    def modes(self) -> dict[str, object]:
        """How stages may run, for the brute force."""
        return {
            "replicas": self.replicas,
            "recompute": self.recompute,
            "shards": self.degrees,
            "zero": self.zero,
            "uniform": self.uniform,
        }


def case(features: set[str], seed: int) -> Case:
    """Make a case in which all the features are at work; a seed names it for ever."""
    rng = np.random.default_rng([seed, 29])
    instance = _base(features, rng)
    if {"in flight", "recompute", "layers"} & features:
        instance = _in_flight(instance, rng)
    instance = _links(instance, rng)
    if {"in flight", "recompute", "layers", "reserves"} & features:
        instance = _memory(instance, rng, reserves="reserves" in features)
    if "host limits" in features:
        instance = _host_limits(instance, rng)
    if {"replicas", "zero", "uniform"} & features:
        instance = instance.replace(
            weight_bytes=np.round(rng.uniform(0, 4, instance.n) * (rng.random(instance.n) < 0.7), 2)
        )
    names = [d.name for d in instance.devices]
    if "order" in features:
        instance = instance.replace(order=_order(instance, rng))
    if "servers" in features:
        instance = instance.replace(servers=_servers(names, rng))
    instance = instance.replace(constraints=_constraints(features, instance, rng))
    made = Case(instance, {})
    if "shards" in features:
        made = _sharded(made, rng)
    if {"replicas", "zero", "uniform"} & features:
        made = replace(made, replicas=int(rng.integers(2, 4)))
    if "zero" in features and instance.is_training:
        made = replace(made, zero=int(rng.integers(1, 3)))
    made = replace(made, uniform="uniform" in features)
    if "recompute" in features and instance.is_training:
        made = replace(made, recompute=str(rng.choice(["auto", "auto", "all"])))
    if "layers" in features and instance.is_training:
        made = replace(made, recompute="layers")
    if "near" in features:
        known = [*names, *names, "elsewhere9"]
        near = {v: str(rng.choice(known)) for v in instance.ids if rng.random() < 0.8}
        slack = 0.0 if "balance" in features else float(rng.choice([0.0, 0.3]))
        made = replace(made, near=near or {instance.ids[0]: names[0]}, slack=slack)
    if "balance" in features:
        made = replace(made, balance=True)
    options = {
        "replicas": made.replicas,
        "shards": made.shards,
        "zero": made.zero,
        "uniform": made.uniform,
        "recompute": made.recompute,
        "near": made.near or {},
        "balance": made.balance,
        "slack": made.slack,
    }
    return replace(made, options=options)


def _sharded(made: Case, rng: np.random.Generator) -> Case:
    """Give nodes figures for two or three shards, and some classes faster or slower links among peers."""
    instance, found = made.instance, []
    known = [2, 3] if rng.random() < 0.4 else [2]
    n = instance.n
    for degree in known:
        own = rng.random(n) < 0.8

        def share(of: np.ndarray, own: np.ndarray = own) -> np.ndarray:
            part = np.round(of * rng.uniform(0.25, 1.0, (n, *[1] * (of.ndim - 1))), 2)
            return np.where(own.reshape(-1, *[1] * (of.ndim - 1)), part, of)

        summed = np.round(rng.uniform(0, 6, n) * (rng.random(n) < 0.5) * own, 1)
        sizes = (instance.memory_bytes, instance.weight_bytes, instance.activation_bytes)
        memory, weights, activations = map(share, sizes)
        found.append(
            Shards(
                degree=degree,
                known=own,
                time_ms=share(instance.time_ms),
                memory_bytes=memory,
                weight_bytes=weights,
                activation_bytes=activations,
                collective_bytes=summed,
            )
        )
    classes = tuple(
        replace(c, peer_link=Link(1.0, 1e3 * BYTES_PER_MS * float(rng.choice([0.5, 4.0])), 0.125))
        if not c.is_host and rng.random() < 0.5
        else c
        for c in instance.classes
    )
    asked: int | tuple[int, ...] = int(known[-1])
    degrees: tuple[int, ...] = (1, *known)
    if rng.random() < 0.3:
        asked = degrees = tuple(sorted({int(d) for d in rng.choice([1, *known], 2)}))
    return replace(
        made, instance=instance.replace(shards=tuple(found), classes=classes), shards=asked, degrees=degrees
    )


def _base(features: set[str], rng: np.random.Generator) -> Instance:
    """Prefer graphs and clusters that give the features something to do."""
    training = bool({"recompute", "layers"} & features or rng.random() < 0.7)
    for _ in range(20):
        instance = random_instance(
            int(rng.integers(2**31)),
            nodes=5,
            training=training,
            heterogeneous="classes" in features,
            overrides="pins" in features,
        )
        accelerators = [d for d in instance.devices if not d.is_host]
        if (
            instance.n >= 3
            and len(accelerators) >= 2
            and (instance.is_training or not {"recompute", "layers"} & features)
            and ("classes" in features or len(instance.devices) <= 4)
        ):
            break
    return instance


def _links(instance: Instance, rng: np.random.Generator) -> Instance:
    """Give accelerator links a bandwidth, and outputs a size where they have one or half of the time."""
    classes = tuple(
        replace(
            c,
            link=Link(c.link.transfer_scale, 1e3 * BYTES_PER_MS / c.link.transfer_scale, c.link.latency_ms),
        )
        for c in instance.classes
    )
    instance = instance.replace(classes=classes)
    if rng.random() < 0.5 or not np.isnan(instance.output_bytes).all():
        size = np.where(rng.random(instance.n) < 0.2, 0.0, rng.integers(1, 13, size=instance.n))
        instance = instance.replace(output_bytes=size, transfer_ms=np.full(instance.n, np.nan))
    return instance


def _in_flight(instance: Instance, rng: np.random.Generator) -> Instance:
    n = instance.n
    sizes = instance.output_bytes if not np.isnan(instance.output_bytes).any() else np.full(n, np.nan)
    return instance.replace(
        memory_bytes=instance.memory_bytes / 4,
        weight_bytes=rng.integers(0, 3, size=n) / 4,
        activation_bytes=rng.integers(0, 9, size=n) / 2,
        output_bytes=sizes,
        training=Training(Optimizer(str(rng.choice(["none", "sgd", "adam"]))), int(rng.integers(1, 6))),
    )


def _memory(instance: Instance, rng: np.random.Generator, *, reserves: bool) -> Instance:
    """Set limits that bind, and reserves below them."""
    need = instance.resident_bytes + min(3, instance.training.microbatches) * instance.activation_bytes
    classes = []
    for c in instance.classes:
        if not c.is_host:
            share = rng.uniform(0.25, 0.8)
            limit = float(np.ceil(max(0.8 * instance.held_bytes.max(), share * need.sum())))
            taken = np.floor(limit * rng.uniform(0, 0.6, size=c.count))
            reserve = float(taken[0]) if rng.random() < 0.3 else tuple(taken.tolist())
            c = replace(c, memory_limit_bytes=limit, memory_reserve_bytes=reserve if reserves else 0.0)
        classes.append(c)
    return instance.replace(classes=tuple(classes))


def _host_limits(instance: Instance, rng: np.random.Generator) -> Instance:
    """Set limits on one or two hosts that bind in most instances, some of them less a reserve."""
    need = instance.resident_bytes + min(2, instance.training.microbatches) * instance.activation_bytes
    classes = []
    for c in instance.classes:
        if c.is_host:
            limit = float(np.ceil(need.sum() * rng.uniform(0.1, 0.7)))
            count = max(1, c.count) + int(len(instance.devices) < 4 and rng.random() < 0.5)
            taken = np.floor(limit * rng.uniform(0, 0.4, size=count) * (rng.random() < 0.4))
            c = replace(c, count=count, memory_limit_bytes=limit, memory_reserve_bytes=tuple(taken.tolist()))
        classes.append(c)
    return instance.replace(classes=tuple(classes))


def _order(instance: Instance, rng: np.random.Generator) -> tuple[str | tuple[str, ...], ...]:
    """Order classes as a whole or single devices, most of the time all, some at a place of several."""
    names: list[str] = []
    for c in instance.classes:
        whole = c.count > 0 and rng.random() < 0.5
        names += [c.name] if whole else [c.member(i) for i in range(c.count) if rng.random() < 0.9]
    names = [str(name) for name in rng.permutation(names)]
    if len(names) > 2 and rng.random() < 0.3:
        return (tuple(names[:2]), *names[2:])
    return tuple(names)


def _servers(names: list[str], rng: np.random.Generator) -> list[Server]:
    places = rng.integers(0, 5, len(names)) // 2  # 4: in none
    found = []
    for k in range(2):
        scale = float(rng.choice([0.5, 2.0, 4.0]))
        uplink = Link(scale, 1e3 * BYTES_PER_MS / scale, float(rng.choice([0.0, 0.25])))
        found.append(
            Server(f"server{k}", tuple(n for n, p in zip(names, places, strict=True) if p == k), uplink)
        )
    return found


def _constraints(features: set[str], instance: Instance, rng: np.random.Generator) -> Constraints:
    names = [d.name for d in instance.devices]
    apart = rng.choice(instance.n, int(rng.integers(2, min(4, instance.n + 1))), replace=False)
    limit = int(rng.integers(1, len(names) + 1))
    use = rng.choice(names, int(rng.integers(1, len(names) + 1)), replace=False)
    return Constraints(
        apart=(tuple(apart.tolist()),) if "apart" in features else (),
        max_devices=limit if "max devices" in features else None,
        use_devices=tuple(use.tolist()) if "use devices" in features else (),
    )
