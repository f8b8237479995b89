"""The meaning of a document and options, in arrays over nodes (n) and devices (D)."""

import math
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

KEPT = {"none": 1, "sgd": 2, "momentum": 3, "adam": 4, "mixed-adam": 8}
ROUNDING = 1 + 1e-9
"""A limit may be exceeded by that much: sums are rounded."""


class Model:
    """A document under options.

    Times ms, sizes bytes.  ``time`` (n, D) is inf where a node may not go; ``near`` and ``far`` (n, D) are
    the transfers of a node's output within and across servers; ``room`` (D,) what a plan may use.
    """

    def __init__(self, document: dict[str, Any], options: dict[str, Any]) -> None:
        self.options = options
        self.latency = options.get("objective") == "latency"
        self.nodes = document["nodes"]
        self.ids = [v["id"] for v in self.nodes]
        self.n = len(self.ids)
        index = {v: i for i, v in enumerate(self.ids)}
        self.edges = [(index[u], index[w]) for u, w in document["edges"]]
        self._read_devices(document["cluster"])
        self.backward = np.array([v.get("backward", False) for v in self.nodes])
        self.training = bool(self.backward.any())
        given = document.get("training", {})
        self.m = options.get("microbatches") or given.get("microbatches", 1)
        factor = KEPT[given.get("optimizer", "none")]
        self.weight = self._column("weight_bytes")
        self.static = self._column("memory_bytes") + factor * self.weight
        self.activation = self._column("activation_bytes")
        self.output = np.array([v.get("output_bytes", np.nan) for v in self.nodes], dtype=float)
        self._read_rules(document.get("constraints", {}), index)
        self.time = self._times()
        self.near, self.far = self._transfers()
        self.near_miss = False
        """Whether some sum was so close to a limit that rounding decides."""

    def _column(self, key: str) -> np.ndarray:
        return np.array([v.get(key, 0.0) for v in self.nodes], dtype=float)

    def _read_devices(self, cluster: dict[str, Any]) -> None:
        self.names: list[str] = []
        self.classes: list[dict[str, Any]] = []
        room, self.place, self.server = [], [], []
        places = [[entry] if isinstance(entry, str) else entry for entry in cluster.get("order", ())]
        for cls in cluster["classes"]:
            for i in range(cls["count"]):
                name = f"{cls['name']}{i}"
                taken = cls.get("memory_reserve_bytes", 0.0)
                if isinstance(taken, list):
                    taken = taken[i if len(taken) > 1 else 0] if taken else 0.0
                limit = cls.get("memory_limit_bytes")
                self.names.append(name)
                self.classes.append(cls)
                room.append(math.inf if limit is None else limit - taken)
                both = [k for k, some in enumerate(places) if name in some or cls["name"] in some]
                self.place.append(both[0] if both else None)
                inside = [
                    k
                    for k, s in enumerate(cluster.get("servers", ()))
                    if name in s["devices"] or cls["name"] in s["devices"]
                ]
                self.server.append(inside[0] if inside else -1 - len(self.names))
        self.uplinks = [s.get("uplink", {}) for s in cluster.get("servers", ())]
        self.room = np.array(room)
        self.host = np.array([c["kind"] == "host" for c in self.classes])
        self.D = len(self.names)

    def _read_rules(self, rules: dict[str, Any], index: dict[str, int]) -> None:
        options = self.options
        label = [v.get("colocate") for v in self.nodes]
        values = [value for value in dict.fromkeys(label) if value is not None]
        group = [{v for v in range(self.n) if label[v] == value} for value in values]
        group += [self._meant(some) for some in options.get("together", ())]
        self.label = list(range(self.n))
        for members in group:  # join what overlaps
            found = {self.label[v] for v in members}
            for v in range(self.n):
                if self.label[v] in found:
                    self.label[v] = min(found)
        apart = [{index[v] for v in some} for some in rules.get("apart", ())]
        apart += [self._meant(some) for some in options.get("apart", ())]
        self.apart = sorted({(v, w) for some in apart for v in some for w in some if v < w})
        limits = [x.get("max_devices") for x in (rules, options)]
        self.max_devices = min((x for x in limits if x is not None), default=self.D)
        use = options.get("use_devices") or rules.get("use_devices") or []
        self.use = {d for d in range(self.D) if self._named(d, use)}
        self.pin = [v.get("pin", []) for v in self.nodes]
        self.forbid = [v.get("forbid", []) for v in self.nodes]
        for pattern, names in options.get("pin", {}).items():
            for v in self._meant([pattern]):
                self.pin[v] = names
        for pattern, names in options.get("forbid", {}).items():
            for v in self._meant([pattern]):
                self.forbid[v] = [*self.forbid[v], *names]

    def _meant(self, patterns: list[str]) -> set[int]:
        out = set()
        for pattern in patterns:
            exact = [v for v in range(self.n) if self.ids[v] == pattern]
            names = [(self.ids[v], self.nodes[v].get("name", self.ids[v])) for v in range(self.n)]
            out |= set(exact) or {
                v for v in range(self.n) if any(fnmatchcase(name, pattern) for name in names[v])
            }
        return out

    def _named(self, d: int, names: list[str]) -> bool:
        return self.names[d] in names or self.classes[d]["name"] in names

    def _times(self) -> np.ndarray:
        out = np.full((self.n, self.D), np.inf)
        for v, node in enumerate(self.nodes):
            for d, cls in enumerate(self.classes):
                if self.pin[v] and not self._named(d, self.pin[v]):
                    continue
                if self._named(d, self.forbid[v]) or (self.use and d not in self.use):
                    continue
                out[v, d] = node["time_ms"].get(cls["type"], np.inf)
        return out

    def _transfers(self) -> tuple[np.ndarray, np.ndarray]:
        near, far = np.zeros((2, self.n, self.D))
        for v in range(self.n):
            for d, cls in enumerate(self.classes):
                if self.host[d]:
                    continue
                near[v, d] = far[v, d] = self._moving(v, cls.get("link", {}))
                if self.server[d] >= 0:
                    far[v, d] = max(near[v, d], self._moving(v, self.uplinks[self.server[d]]))
        return near, far

    def _moving(self, v: int, link: dict[str, Any]) -> float:
        size = self.output[v]
        if math.isnan(size):
            return float(self.nodes[v].get("transfer_ms", 0.0) * link.get("transfer_scale", 1.0))
        if size == 0:
            return 0.0
        return float(link.get("latency_ms", 0.0) + 1e3 * size / link["bandwidth_bytes_per_s"])

    # -- what follows ---------------------------------------------------------------------------

    @property
    def contiguity(self) -> str:
        """``ordered``, ``each`` (each set by itself, the paper's program) or ``free``."""
        if not self.options.get("contiguous", True):
            return "free"
        paper = self.options.get("method") == "milp" and self.options.get("formulation") == "paper"
        return "each" if paper else "ordered"

    @property
    def schedule(self) -> str:
        return str(self.options.get("schedule", "1f1b"))

    @cached_property
    def readers(self) -> list[list[int]]:
        return [sorted({w for u, w in self.edges if u == v}) for v in range(self.n)]

    @cached_property
    def forward_edges(self) -> list[tuple[int, int]]:
        return [(u, w) for u, w in self.edges if not self.backward[u] and not self.backward[w]]

    @cached_property
    def precedence(self) -> list[tuple[int, int]]:
        """Pairs that a pipeline keeps: forward edges, and turned around the backward edges of groups
        without a forward node (the backward pass mirrors the forward pass)."""

        def alone(v: int) -> bool:
            return all(self.backward[w] for w in range(self.n) if self.label[w] == self.label[v])

        return self.forward_edges + [
            (w, u) for u, w in self.edges if self.backward[u] and self.backward[w] and (alone(u) or alone(w))
        ]

    @cached_property
    def descendants(self) -> np.ndarray:
        """Whether a forward path leads from one node to another (n, n)."""
        reach = np.zeros((self.n, self.n), dtype=bool)
        for u, w in self.forward_edges:
            reach[u, w] = True
        for k in range(self.n):
            reach |= reach[:, k, None] & reach[None, k, :]
        return reach

    def alike(self, a: int, b: int) -> bool:
        """Whether two devices may share a stage: identical accelerators, to rules as well."""
        return bool(
            not self.host[a]
            and self.classes[a] is self.classes[b]
            and self.room[a] == self.room[b]
            and self.place[a] == self.place[b]
            and max(self.server[a], -1) == max(self.server[b], -1)
            and (self.time[:, a] == self.time[:, b]).all()
        )

    def sync_ms(self, v: int, d: int, r: int) -> float:
        """Time per sample for the gradients of a node on r devices like d: a ring, once per step."""
        bandwidth = self.classes[d].get("link", {}).get("bandwidth_bytes_per_s")
        trained = any(self.backward[w] for w in range(self.n) if self.label[w] == self.label[v])
        if r == 1 or bandwidth is None or not trained:
            return 0.0
        return float(1e3 * 2 * (r - 1) / r * self.weight[v] / bandwidth / self.m)

    def fits(self, used: np.ndarray, room: np.ndarray) -> np.ndarray:
        """Whether sizes keep limits; remembers when rounding decides."""
        with np.errstate(invalid="ignore", over="ignore"):
            self.near_miss |= bool(((used > room * (1 + 1e-12)) & (used < room * (1 + 5e-9))).any())
            return np.asarray(used <= room * ROUNDING)
