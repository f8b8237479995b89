"""All throughput plans of a model at once, as arrays over plans (P) and stages (G)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.fuzz.oracle.model import Model


@dataclass(frozen=True)
class Plans:
    """All plans that hold; a stage on several devices is named by the first of them.

    ``device`` (P, n), ``load`` and ``moved`` (P, D) ms, ``used`` devices (P,), ``objective`` (P,) ms.
    """

    device: np.ndarray
    load: np.ndarray
    moved: np.ndarray
    used: np.ndarray
    objective: np.ndarray

    @property
    def optimum(self) -> float:
        return float(self.objective.min(initial=np.inf))


def all_plans(model: Model) -> Plans:
    """Enumerate the plans of every way to let devices share stages."""
    found: dict[tuple[tuple[int, int], ...], list[tuple[int, ...]]] = {}
    kind = [min(b for b in range(model.D) if b == a or model.alike(b, a)) for a in range(model.D)]
    for groups in _groupings(list(range(model.D)), kind, model.options.get("replicas", 1)):
        found.setdefault(tuple(sorted((kind[g[0]], len(g)) for g in groups)), groups)
    parts = [part for groups in found.values() for part in _Grouped(model, groups).plans()]
    return Plans(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _groupings(left: list[int], kind: list[int], most: int) -> Iterator[list[tuple[int, ...]]]:
    if not left:
        yield []
        return
    first, rest = left[0], left[1:]
    same = [d for d in rest if kind[d] == kind[first]]
    for size in range(min(most, len(same) + 1)):
        for others in itertools.combinations(same, size):
            for more in _groupings([d for d in rest if d not in others], kind, most):
                yield [(first, *others), *more]


class _Grouped:
    """The plans that use given groups of devices, one stage for each group."""

    def __init__(self, model: Model, groups: list[tuple[int, ...]]) -> None:
        self.model, self.groups, self.G = model, groups, len(groups)
        self.first = np.array([g[0] for g in groups])
        self.size = np.array([len(g) for g in groups])
        self.place = [model.place[d] for d in self.first]
        self._set(self._assignments())
        self._set(self.at[self._rules()])

    def _set(self, at: np.ndarray) -> None:
        """Stage of each node, ``(P, n)``."""
        self.at = at
        self.on = at[:, :, None] == np.arange(self.G)
        self.used = self.on.any(axis=1)

    def _assignments(self) -> np.ndarray:
        """Supported assignments of whole colocation groups."""
        model = self.model
        labels = list(dict.fromkeys(model.label))
        may = []
        for label in labels:
            members = [v for v in range(model.n) if model.label[v] == label]
            may.append(np.flatnonzero(np.isfinite(model.time[members][:, self.first]).all(axis=0)))
        item = [labels.index(label) for label in model.label]
        grid = np.meshgrid(*may, indexing="ij")
        return np.stack([grid[i].ravel() for i in item], axis=1)

    def _rules(self) -> np.ndarray:
        model, at = self.model, self.at
        ok = self.used @ self.size <= model.max_devices
        for v, w in model.apart:
            ok &= at[:, v] != at[:, w]
        if model.use:
            wanted = np.array([all(d in model.use for d in g) for g in self.groups])
            ok &= (self.used == wanted).all(axis=1)
            ok &= wanted.sum() > 0 and all(
                wanted[k] or not any(d in model.use for d in g) for k, g in enumerate(self.groups)
            )
        if model.contiguity == "each":
            for u, w, v in itertools.permutations(range(model.n), 3):
                if model.descendants[u, w] and model.descendants[w, v]:
                    ok &= (at[:, u] != at[:, v]) | (at[:, u] == at[:, w])
        if model.contiguity == "ordered":
            ok &= self._acyclic()
        return np.asarray(ok)

    def _acyclic(self) -> np.ndarray:
        """Whether data and the wanted order leave an order of the stages."""
        at, rows = self.at, np.arange(len(self.at))
        reach = np.zeros((len(at), self.G, self.G), dtype=bool)
        for u, w in self.model.precedence:
            reach[rows, at[:, u], at[:, w]] = True
        reach[:, np.arange(self.G), np.arange(self.G)] = False
        for a, b in self._ranked():
            reach[:, a, b] |= self.used[:, a] & self.used[:, b]
        for k in range(self.G):
            reach |= reach[:, :, k, None] & reach[:, None, k, :]
        return ~reach[:, np.arange(self.G), np.arange(self.G)].any(axis=1)

    def _ranked(self) -> list[tuple[int, int]]:
        """Pairs of stages that the wanted order names, earlier first."""
        pairs = itertools.permutations(range(self.G), 2)
        places = [-1 if p is None else p for p in self.place]
        return [(a, b) for a, b in pairs if -1 < places[a] < places[b]]

    # -- loads ----------------------------------------------------------------------------------

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Compute, receive, send ``(P, 2, G)`` and weight synchronisation ``(P, G)`` of one device each."""
        model, at = self.model, self.at
        compute, receive, send = np.zeros((3, len(at), 2, self.G))
        sync = np.zeros((len(at), self.G))
        server = np.array(model.server)[self.first]
        for g, d in enumerate(self.first):
            r = int(self.size[g])
            for v in range(model.n):
                way, here = int(model.backward[v]), self.on[:, v, g]
                if np.isfinite(model.time[v, d]):
                    compute[:, way, g] += here * (model.time[v, d] / r)
                if r > 1:
                    sync[:, g] += here * model.sync_ms(v, d, r)
                if not model.readers[v] or not (model.near[v, d] or model.far[v, d]):
                    continue
                near, far = model.near[v, d] / r, model.far[v, d] / r
                places = at[:, model.readers[v]]
                gets = (places == g).any(axis=1) & ~here
                gives = (places != g).any(axis=1) & here
                receive[:, way, g] += gets * np.where(server[at[:, v]] != server[g], far, near)
                away = (server[places] != server[g]).any(axis=1)
                send[:, way, g] += gives * np.where(away, far, near)
        return compute, receive, send, sync

    # -- memory ---------------------------------------------------------------------------------

    def _memory(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resident bytes, activations per microbatch, and forward inputs of each stage, ``(P, G)``."""
        model = self.model
        on = self.on.astype(float)
        static, kept = (np.einsum("pvg,v->pg", on, x) for x in (model.static, model.activation))
        inputs = np.zeros_like(kept)
        for u in range(model.n):
            readers = sorted({w for a, w in model.forward_edges if a == u})
            if readers and not np.isnan(model.output[u]):
                inputs += model.output[u] * (self.on[:, readers].any(axis=1) & ~self.on[:, u])
        return static, kept, inputs

    def _flights(self) -> Iterator[tuple[np.ndarray | slice, np.ndarray | int]]:
        """Orders of the stages: plans that may have them, and microbatches in flight then ``(P', G)``."""
        model = self.model
        m = model.m if model.training else 1
        by_stage = model.contiguity == "ordered" and model.schedule == "1f1b" and m > 1
        if not by_stage or not model.activation.any():
            yield slice(None), m
            return
        ranked = self._ranked()
        for order in itertools.permutations(range(self.G)):
            position = np.argsort(order)
            where = position[self.at]
            ok = np.ones(len(self.at), dtype=bool)
            for u, w in model.precedence:
                ok &= where[:, u] <= where[:, w]
            for a, b in ranked:
                if position[a] > position[b]:
                    ok &= ~(self.used[:, a] & self.used[:, b])
            rows = np.flatnonzero(ok)
            later = position[None, :] >= position[:, None]  # whether stage b is not before stage a
            yield rows, np.minimum(self.used[rows] @ later.T.astype(np.int64), m)

    def plans(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the columns of `Plans` for each order of the stages."""
        model = self.model
        room = model.room[self.first]
        static, kept, inputs = self._memory()
        self.model.fits(static, room)
        compute, receive, send, sync = self._parts()
        sync_way = np.zeros_like(compute)
        sync_way[:, 1] = sync
        again = np.zeros_like(compute)
        again[:, 1] = compute[:, 0]
        mode = model.options.get("recompute", "none")
        share = np.zeros((self.G, model.D))
        for g, members in enumerate(self.groups):
            share[g, list(members)] = 1.0
        for rows, flights in self._flights():
            keeps = model.fits(static[rows] + flights * kept[rows], room)
            drops = model.fits(static[rows] + kept[rows] + flights * inputs[rows], room)
            drops &= ~model.host[self.first]
            # Recomputing only costs time: a stage does it where it must, or where all have to.
            must = ~keeps if mode == "auto" else np.zeros_like(keeps)
            if mode == "all":
                must[:] = ~model.host[self.first]
            holds = (np.where(must, drops, keeps) | ~self.used[rows]).all(axis=1)
            if mode == "none":
                must[:] = False
            pick = np.arange(len(self.at))[rows][holds]
            must = must[holds] & self.used[pick]
            busy = compute[pick] + sync_way[pick] + again[pick] * must[:, None, :]
            load = _load(busy, receive[pick], send[pick], model.options.get("communication", "sequential"))
            moved = (receive[pick] + send[pick]).sum(axis=1) @ share
            if model.schedule == "1f1b":
                objective = load.sum(axis=1).max(axis=1)
            else:
                objective = load[:, 0].max(axis=1) + load[:, 1].max(axis=1)
            yield (
                self.first[self.at[pick]],
                load.sum(axis=1) @ share,
                moved,
                self.used[pick] @ self.size,
                objective,
            )


def _load(busy: np.ndarray, receive: np.ndarray, send: np.ndarray, communication: str) -> np.ndarray:
    if communication == "sequential":
        return busy + receive + send
    if communication == "overlap":
        return np.maximum(busy, receive + send)
    return np.maximum(busy, np.maximum(receive, send))
