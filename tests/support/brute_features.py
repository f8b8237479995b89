"""Optima of throughput plans with all that the model allows at once, by trying everything.

Written from the documentation: every way to let identical accelerators share a stage, every assignment, every
order of the stages, every choice of stages or nodes that recompute.  Shares no code with the evaluation, the
verification or the formulations; of an instance it reads the plain fields only.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placer.instance.cluster import Link
from placer.instance.instance import Instance
from tests.support.machines import Machine, machines

Kind = tuple[str, str, str]
"""(contiguity "free" | "each" | "ordered", schedule, communication)."""

KEPT = {
    "none": (1, 0, 0),
    "sgd": (1, 1, 0),
    "momentum": (1, 1, 1),
    "adam": (1, 1, 2),
    "mixed-adam": (1, 1, 6),
}
"""Per byte of weights: these, gradients, state of the optimizer."""
ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Candidates:
    """All plans of one kind; a stage on several devices is named by the first of them.

    ``plans`` (P, n), ``load`` and ``moved`` by direction and device (P, 2, D), ``devices`` in use (P,).
    """

    names: list[str]
    ids: tuple[str, ...]
    plans: np.ndarray
    load: np.ndarray
    moved: np.ndarray
    devices: np.ndarray
    schedule: str

    def objectives(self) -> np.ndarray:
        if self.schedule == "1f1b":
            return self.load.sum(axis=1).max(axis=1)
        return self.load[:, 0].max(axis=1) + self.load[:, 1].max(axis=1)

    def optimum(self) -> float:
        return float(self.objectives().min(initial=np.inf))

    def secondary(self, near: dict[str, str], *, balance: bool, slack: float = 0.0) -> list[float] | None:
        """Best values of the secondary goals, in turn; None without a plan.

        First the nodes that move from ``near`` (when it is not empty), then with ``balance`` the sums of
        the 1, 2, ... largest loads, the transfer time and the devices in use.
        """
        if not len(self.plans):
            return None
        earlier = np.array([self.names.index(near[v]) if near.get(v) in self.names else -1 for v in self.ids])
        goals = [(self.plans != earlier).sum(axis=1).astype(float)] if near else []
        if balance:
            falling = -np.sort(-self.load.sum(axis=1), axis=1)
            goals += [falling[:, :k].sum(axis=1) for k in range(1, len(self.names) + 1)]
            goals += [self.moved.sum(axis=(1, 2)), self.devices.astype(float)]
        out = []
        left = self.objectives() <= self.optimum() * (1 + slack) * ROUNDING
        for goal in goals:
            best = float(goal[left].min())
            left &= goal <= best * (1 + slack) * ROUNDING + 1e-12
            out.append(best)
        return out


@dataclass(frozen=True)
class Modes:
    """How stages may run: up to so many replicas, in one of some degrees of shards."""

    replicas: int = 1
    shards: tuple[int, ...] = (1,)
    zero: int = 0
    uniform: bool = False


def candidates(
    instance: Instance,
    kind: Kind,
    *,
    replicas: int = 1,
    recompute: str = "none",
    shards: tuple[int, ...] = (1,),
    zero: int = 0,
    uniform: bool = False,
) -> Candidates:
    """Enumerate all plans of a kind."""
    devices = machines(instance)
    modes = Modes(replicas, shards, zero, uniform)
    found = [
        _Grouped(instance, devices, groups, kind, modes).candidates(recompute)
        for groups in groupings(list(range(len(devices))), devices, modes, bool(instance.servers))
    ]
    plans, load, moved, used = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Candidates([d.name for d in devices], instance.ids, plans, load, moved, used, kind[1])


def groupings(
    left: list[int], devices: list[Machine], modes: Modes, servers: bool
) -> Iterator[list[tuple[tuple[int, ...], int]]]:
    """Every way to put identical accelerators together, with the shards of each group; some may be idle."""
    if not left:
        yield []
        return
    first, rest = left[0], left[1:]
    machine = devices[first]
    if not machine.is_host and 1 not in modes.shards:
        yield from groupings(rest, devices, modes, servers)
    same = [d for d in rest if machine.same(devices[d])]
    for shards in (1,) if machine.is_host else modes.shards:
        if shards > 1 and servers and machine.server is None:
            continue
        for replicas in range(1, (1 if machine.is_host else modes.replicas) + 1):
            for others in itertools.combinations(same, replicas * shards - 1):
                for more in groupings([d for d in rest if d not in others], devices, modes, servers):
                    yield [((first, *others), shards), *more]


class _Grouped:
    """The plans that use given groups of devices, one stage for each group."""

    def __init__(
        self,
        instance: Instance,
        devices: list[Machine],
        groups: list[tuple[tuple[int, ...], int]],
        kind: Kind,
        modes: Modes,
    ) -> None:
        self.instance, self.groups, self.devices = instance, [g for g, _ in groups], devices
        self.kind, self.modes = kind, modes
        self.first = [devices[g[0]] for g in self.groups]
        self.shards = [shards for _, shards in groups]
        self.width = np.array([len(g) for g in self.groups], dtype=np.int64)
        self.size = np.array([len(g) // shards for g, shards in groups], dtype=np.int64)
        self.n, self.G = len(instance.ids), len(groups)
        self.training = bool(any(instance.backward))
        self.plans = self._plans()
        self.on = self.plans[:, :, None] == np.arange(self.G)  # (P, n, G)
        self.used = self.on.any(axis=1)
        self._keep(self._allowed())

    def _keep(self, ok: np.ndarray) -> None:
        self.plans, self.on, self.used = self.plans[ok], self.on[ok], self.used[ok]

    def _plans(self) -> np.ndarray:
        may = [[g for g, d in enumerate(self.first) if np.isfinite(d.time[v])] for v in range(self.n)]
        return np.array(list(itertools.product(*may)), dtype=np.int64).reshape(-1, self.n)

    def _allowed(self) -> np.ndarray:
        """Colocation, and the rules on the whole plan."""
        label, rules = self.instance.colocate, self.instance.constraints
        ok = np.ones(len(self.plans), dtype=bool)
        for v, w in itertools.combinations(range(self.n), 2):
            if label[v] is not None and label[v] == label[w]:
                ok &= self.plans[:, v] == self.plans[:, w]
        for group in rules.apart:
            for v, w in itertools.combinations(group, 2):
                ok &= self.plans[:, v] != self.plans[:, w]
        if rules.max_devices is not None:
            ok &= self.used @ self.width <= rules.max_devices
        if rules.use_devices:
            for g, members in enumerate(self.groups):
                wanted = [self.devices[d].name in rules.use_devices for d in members]
                ok &= np.where(self.used[:, g], all(wanted), not any(wanted))
            there = {self.devices[d].name for members in self.groups for d in members}
            ok &= set(rules.use_devices) <= there
        if self.kind[0] == "each":
            ok &= self._each_contiguous()
        if self.modes.uniform:
            for a, b in itertools.combinations([g for g in range(self.G) if not self.first[g].is_host], 2):
                if (self.size[a], self.shards[a]) != (self.size[b], self.shards[b]):
                    ok &= ~(self.used[:, a] & self.used[:, b])
        return ok

    def _figure(self, name: str, v: int, g: int) -> float:
        """A figure of a node on each device of a group."""
        for some in self.instance.shards:
            if some.degree == self.shards[g]:
                return float(getattr(some, name)[v])
        return 0.0 if name == "collective_bytes" else float(getattr(self.instance, name)[v])

    def _time(self, v: int, g: int) -> float:
        """Time of a node on each device of a group, with what its shards sum up, per sample."""
        device, t = self.first[g], self.shards[g]
        out = device.time[v]
        for some in self.instance.shards:
            if some.degree == t:
                out = float(some.time_ms[v, self.instance.types.index(device.cls.type)])
        size, peers = self._figure("collective_bytes", v, g), device.cls.peer_link or device.cls.link
        if size:
            out += 2 * (t - 1) / t * size / peers.bandwidth_bytes_per_s * 1e3 + 2 * (t - 1) * peers.latency_ms
        return out / self.size[g]

    def _each_contiguous(self) -> np.ndarray:
        reach = np.zeros((self.n, self.n), dtype=bool)
        for u, w in self._forward_edges():
            reach[u, w] = True
        for k in range(self.n):
            reach |= reach[:, k, None] & reach[None, k, :]
        ok = np.ones(len(self.plans), dtype=bool)
        for u, w, v in itertools.permutations(range(self.n), 3):
            if reach[u, w] and reach[w, v]:
                ok &= (self.plans[:, u] != self.plans[:, v]) | (self.plans[:, u] == self.plans[:, w])
        return ok

    # -- loads ----------------------------------------------------------------------------------

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute, receive and send time of each stage on each of its devices, ``(P, 2, G)``."""
        compute, receive, send = (np.zeros((len(self.plans), 2, self.G)) for _ in range(3))
        servers = [object() if d.server is None else d.server for d in self.first]
        apart = np.array([[a != b for b in servers] for a in servers])  # (G, G)
        for g, device in enumerate(self.first):
            r = self.size[g]
            for v in range(self.n):
                way, here = int(self.instance.backward[v]), self.on[:, v, g]
                compute[here, way, g] += self._time(v, g)
                readers = sorted({w for u, w in self.instance.edges.tolist() if u == v})
                if device.is_host or not readers:
                    continue
                t = self.shards[g]
                near = _moving(self.instance, v, device.cls.link, t) / r
                far = near if device.uplink is None else _moving(self.instance, v, device.uplink, t) / r
                far = max(near, far)
                at = self.plans[:, readers]
                gets, gives = (at == g).any(axis=1) & ~here, (at != g).any(axis=1) & here
                receive[gets, way, g] += np.where(apart[g, self.plans[gets, v]], far, near)
                send[gives, way, g] += np.where(apart[g, at[gives]].any(axis=1), far, near)
        return compute, receive, send

    def _sync(self) -> np.ndarray:
        """Time to sum up the gradients over the devices of a stage, ``(P, G)``."""
        label, backward = self.instance.colocate, self.instance.backward
        out = np.zeros((len(self.plans), self.G))
        for g, device in enumerate(self.first):
            r, bandwidth = int(self.size[g]), (device.cls.peer_link or device.cls.link).bandwidth_bytes_per_s
            if r == 1 or bandwidth is None:
                continue
            for v in range(self.n):
                mates = [
                    w for w in range(self.n) if w == v or (label[v] is not None and label[v] == label[w])
                ]
                if any(backward[w] for w in mates):
                    step = 1e3 * 2 * (r - 1) / r * self._figure("weight_bytes", v, g) / bandwidth
                    out[:, g] += self.on[:, v, g] * step / self.instance.training.microbatches
        return out

    # -- memory and order -----------------------------------------------------------------------

    def _forward_edges(self) -> list[tuple[int, int]]:
        backward = self.instance.backward
        return [(u, w) for u, w in self.instance.edges.tolist() if not backward[u] and not backward[w]]

    def _precedence(self) -> list[tuple[int, int]]:
        """Forward edges, and turned around the backward edges of groups without a forward node."""
        label, backward = self.instance.colocate, self.instance.backward

        def alone(v: int) -> bool:
            return all(backward[w] for w in range(self.n) if w == v or (label[v] and label[w] == label[v]))

        return self._forward_edges() + [
            (w, u)
            for u, w in self.instance.edges.tolist()
            if backward[u] and backward[w] and (alone(u) or alone(w))
        ]

    def choices(self, recompute: str) -> list[np.ndarray]:
        """Every choice of what recomputes: whether a node does on each group, ``(n, G)``."""
        hosts = np.array([d.is_host for d in self.first], dtype=bool)
        if recompute != "layers":
            some = {"none": (False,), "auto": (False, True), "all": (True,)}[recompute]
            masks = itertools.product(*[(False,) if host else some for host in hosts])
            return [np.tile(np.array(mask, dtype=bool), (self.n, 1)) for mask in masks]
        label = self.instance.colocate
        units = sorted({label[v] or f"node {v}" for v in range(self.n)})
        of = np.array([units.index(label[v] or f"node {v}") for v in range(self.n)])
        subsets = itertools.product((False, True), repeat=len(units))
        return [np.array(some)[of][:, None] & ~hosts for some in subsets]

    def memory(self, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What stages hold whatever is in flight, and per microbatch, ``(P, G)`` each."""
        instance, z = self.instance, self.modes.zero
        weights, gradients, state = KEPT[instance.training.optimizer.value]
        fixed, each = np.zeros(self.used.shape), np.zeros(self.used.shape)
        for g, v in itertools.product(range(self.G), range(self.n)):
            d = self.size[g]
            factor = weights + gradients / (d if z == 2 else 1) + state / (d if z else 1)
            own = self._figure("memory_bytes", v, g) + factor * self._figure("weight_bytes", v, g)
            fixed[:, g] += self.on[:, v, g] * own
            (fixed if again[v, g] else each)[:, g] += self.on[:, v, g] * self._figure(
                "activation_bytes", v, g
            )
        repeated = self.on & again  # (P, n, G)
        for u in range(self.n):
            readers = sorted({w for a, w in self._forward_edges() if a == u})
            if readers and not np.isnan(instance.output_bytes[u]):
                each += instance.output_bytes[u] * (repeated[:, readers].any(axis=1) & ~repeated[:, u])
        return fixed, each

    def fits(self, memory: tuple[np.ndarray, np.ndarray], flights: np.ndarray) -> np.ndarray:
        """Whether plans fit with so many microbatches in flight ``(P, G)``, ``(P,)``."""
        room = np.array([d.room for d in self.first])
        return ((memory[0] + flights * memory[1] <= room * ROUNDING) | ~self.used).all(axis=1)

    def busy(self, compute: np.ndarray, again: np.ndarray) -> np.ndarray:
        """Compute times with what is computed again in the backward pass, ``(P, 2, G)``."""
        out = compute.copy()
        for g, v in itertools.product(range(self.G), range(self.n)):
            if again[v, g] and not self.instance.backward[v]:
                here = self.on[:, v, g]
                out[here, 1, g] += self._time(v, g)
        return out

    def _orders(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Orders of the stages: which plans may have them ``(P,)``, and microbatches in flight ``(P, G)``."""
        m = self.instance.training.microbatches if self.training else 1
        if self.kind[0] != "ordered":
            yield np.ones(len(self.plans), dtype=bool), np.full(self.used.shape, m)
            return
        for order in itertools.permutations(range(self.G)):
            at = np.argsort(order)
            ok = np.ones(len(self.plans), dtype=bool)
            for u, w in self._precedence():
                ok &= at[self.plans[:, u]] <= at[self.plans[:, w]]
            for a, b in itertools.permutations(range(self.G), 2):
                first, second = self.first[a].place, self.first[b].place
                if first is not None and second is not None and first < second and at[a] > at[b]:
                    ok &= ~(self.used[:, a] & self.used[:, b])
            later = at[None, :] >= at[:, None]  # whether stage b is not before stage a
            from_end = self.used @ later.T.astype(np.int64)
            yield ok, np.minimum(from_end, m) if self.kind[1] == "1f1b" else np.full(self.used.shape, m)

    def candidates(self, recompute: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Plans, loads, transfers and devices in use of all plans that hold."""
        choices = self.choices(recompute)
        memories = [self.memory(again) for again in choices]
        held = np.zeros((len(choices), len(self.plans)), dtype=bool)
        for ok, flights in self._orders():
            for kept, memory in zip(held, memories, strict=True):
                kept |= ok & self.fits(memory, flights)
        compute, receive, send = self._parts()
        sync = self._sync()
        share = np.zeros((self.G, len(self.devices)))
        for g, members in enumerate(self.groups):
            share[g, list(members)] = 1.0
        out = []
        for again, kept in zip(choices, held, strict=True):
            busy = self.busy(compute, again)[kept]
            busy[:, 1] += sync[kept]
            taken, sent = receive[kept], send[kept]
            load = {
                "sequential": busy + taken + sent,
                "overlap": np.maximum(busy, taken + sent),
                "duplex": np.maximum(busy, np.maximum(taken, sent)),
            }[self.kind[2]]
            named = np.array([g[0] for g in self.groups], dtype=np.int64)[self.plans[kept]]
            out.append((named, load @ share, (taken + sent) @ share, self.used[kept] @ self.width))
        plans, load, moved, used = (np.concatenate(parts) for parts in zip(*out, strict=True))
        return plans, load, moved, used


def _moving(instance: Instance, v: int, link: Link, shards: int) -> float:
    size = instance.output_bytes[v] / shards
    if np.isnan(size):
        return float(instance.transfer_ms[v] * link.transfer_scale) / shards
    return float(link.latency_ms + 1000 * size / link.bandwidth_bytes_per_s) if size > 0 else 0.0
