"""For each row two small problems that differ in it alone, and whose answers differ for that reason.

Problems are files, so that reading them is tried as well.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from placer.formats.files import loads
from placer.instance.instance import Instance

Document = dict[str, Any]
Edit = Callable[[Document], None]


@dataclass(frozen=True)
class Problem:
    """A file, options, and the file that means the same without the options' overrides."""

    document: Document
    options: dict[str, Any] = field(default_factory=dict)
    by_hand: Document | None = None

    @property
    def instance(self) -> Instance:
        """The instance that is solved."""
        return _read(self.document)

    @property
    def plain(self) -> Instance:
        """The instance with all overrides written in, for the brute force."""
        return _read(self.by_hand or self.document)


@dataclass(frozen=True)
class Witness:
    """The problem with the field or option, and what it becomes where that is ignored."""

    given: Problem
    ignoring: Problem


def _read(document: Document) -> Instance:
    return loads(json.dumps(document), source="witness", name="witness")


def node(name: str, gpu: float, **more: Any) -> Document:
    return {"id": name, "time_ms": {"gpu": gpu, "cpu": 20.0}, "memory_bytes": 10.0, "transfer_ms": 1.0} | more


def chain() -> Document:
    """a -> b -> c on two accelerators that hold two nodes each, and a slow host."""
    return {
        "format": "placer-instance",
        "version": 1,
        "name": "chain",
        "nodes": [node("a", 4.0), node("b", 3.0), node("c", 2.0)],
        "edges": [["a", "b"], ["b", "c"]],
        "cluster": {
            "classes": [
                {"name": "gpu", "type": "gpu", "count": 2, "memory_limit_bytes": 20.0},
                {"name": "cpu", "type": "cpu", "kind": "host", "count": 1},
            ]
        },
    }


def sized() -> Document:
    """The chain with sizes of outputs instead of times: 1 ms each."""
    made = chain()
    for v in made["nodes"]:
        del v["transfer_ms"]
        v["output_bytes"] = 1e6
    made["cluster"]["classes"][0]["link"] = {"bandwidth_bytes_per_s": 1e9}
    return made


def training() -> Document:
    """Two forward nodes and their backward nodes; weights take 1 ms on the link."""
    made = sized()
    made["name"] = "training"
    made["nodes"] = [
        node("a", 4.0, weight_bytes=1e6, memory_bytes=0.0, colocate="a"),
        node("b", 2.0, weight_bytes=1e6, memory_bytes=0.0, colocate="b"),
        node("b'", 8.0, backward=True, memory_bytes=0.0, colocate="b"),
        node("a'", 1.0, backward=True, memory_bytes=0.0, colocate="a"),
    ]
    made["edges"] = [["a", "b"], ["b", "b'"], ["b'", "a'"]]
    made["cluster"]["classes"][0]["memory_limit_bytes"] = 15e6
    return made


def in_servers() -> Document:
    """The chain of sizes, each accelerator in a server of its own; the uplinks are as fast as the links."""
    made = sized()
    made["cluster"]["servers"] = [
        {"name": f"s{i}", "devices": [f"gpu{i}"], "uplink": {"bandwidth_bytes_per_s": 1e9}} for i in (0, 1)
    ]
    return made


def two_classes() -> Document:
    """The first nodes suit the accelerator ``gpu``, the last one suits ``big``."""
    made = chain()
    for v, gpu, big in zip(made["nodes"], (2.0, 2.0, 15.0), (8.0, 8.0, 4.0), strict=True):
        v["time_ms"] |= {"gpu": gpu, "big": big}
    made["cluster"]["classes"][0]["count"] = 1
    made["cluster"]["classes"].insert(
        1, {"name": "big", "type": "big", "count": 1, "memory_limit_bytes": 20.0}
    )
    return made


def put(path: str, value: Any) -> Edit:
    """Set a field; the path leads over keys and indices."""

    def edit(document: Document) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        at: Any = document
        for step in way:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
        at[last] = value

    return edit


def with_(document: Document, *edits: Edit) -> Document:
    made = copy.deepcopy(document)
    for edit in edits:
        edit(made)
    return made


def fields(base: Document, *edits: Edit, **options: Any) -> Witness:
    """A field that is set on top of a document."""
    return Witness(Problem(with_(base, *edits), options), Problem(base, options))


def option(base: Document, given: dict[str, Any], *by_hand: Edit, **common: Any) -> Witness:
    """An option that is given; edits say the same by hand, for the brute force."""
    hand = with_(base, *by_hand) if by_hand else None
    return Witness(Problem(base, common | given, hand), Problem(base, common))


def bound_to_fit(factor: str, value: float) -> Edit:
    def edit(document: Document) -> None:
        for v in document["nodes"]:
            v[factor] = value

    return edit


FREE = put("cluster/classes/0/memory_limit_bytes", None)
GPIPE = {"schedule": "gpipe"}
APART = with_(chain(), put("nodes/1/memory_bytes", 15.0), put("nodes/1/time_ms/cpu", 7.0))
"""No two neighbours fit on one accelerator."""
SPREAD = with_(chain(), put("nodes/0/time_ms/gpu", 4.0), put("nodes/1/time_ms/gpu", 9.0), FREE)
"""The nodes at both ends suit one device, the one between another."""
WEIGHTS = with_(chain(), bound_to_fit("memory_bytes", 0.0), bound_to_fit("weight_bytes", 10.0))
ACTIVE = with_(training(), *(put(f"nodes/{v}/activation_bytes", 3e6) for v in (0, 1)))
"""Each device holds 1 MB of weights and 3 MB per microbatch."""
HEAVY = with_(
    sized(),
    put("nodes/0/time_ms/gpu", 12.0),
    put("nodes/1/time_ms/gpu", 0.5),
    put("nodes/2/time_ms/gpu", 0.5),
    FREE,
)

WITNESSES: dict[str, Witness] = {
    "instance.edges": fields(with_(chain(), FREE, put("edges", [])), put("edges", [["a", "b"], ["b", "c"]])),
    "node.time_ms": fields(chain(), put("nodes/0/time_ms/gpu", 15.0)),
    "node.memory_bytes": fields(chain(), put("nodes/1/memory_bytes", 15.0)),
    "node.weight_bytes": fields(chain(), put("nodes/1/weight_bytes", 5.0)),
    "node.activation_bytes": fields(chain(), put("nodes/1/activation_bytes", 5.0)),
    "node.transfer_ms": fields(APART, put("nodes/0/transfer_ms", 6.0)),
    "node.output_bytes": fields(
        with_(sized(), put("nodes/1/memory_bytes", 15.0), put("nodes/1/time_ms/cpu", 7.0)),
        put("nodes/0/output_bytes", 6e6),
    ),
    "node.backward": fields(chain(), put("nodes/2/backward", True), **GPIPE),
    "node.colocate": fields(chain(), put("nodes/0/colocate", "g"), put("nodes/2/colocate", "g")),
    "node.pin": fields(chain(), put("nodes/0/pin", ["cpu"])),
    "node.forbid": fields(chain(), put("nodes/0/forbid", ["gpu0", "gpu1"])),
    "class.type": fields(
        with_(
            chain(),
            put("nodes/0/time_ms/slow", 9.0),
            put("nodes/1/time_ms/slow", 9.0),
            put("nodes/2/time_ms/slow", 9.0),
        ),
        put("cluster/classes/0/type", "slow"),
    ),
    "class.kind": fields(
        with_(
            two_classes(),
            put("cluster/classes/1/type", "gpu"),
            put("nodes/0/time_ms/gpu", 6.0),
            put("nodes/0/pin", ["gpu"]),
            put("nodes/1/time_ms/gpu", 3.0),
            put("nodes/2/time_ms/gpu", 2.0),
            put("nodes/2/pin", ["big"]),
            FREE,
        ),
        put("cluster/classes/0/kind", "host"),
    ),
    "class.count": fields(chain(), put("cluster/classes/0/count", 1)),
    "class.memory_limit_bytes": fields(chain(), put("cluster/classes/0/memory_limit_bytes", 15.0)),
    "class.memory_reserve_bytes": fields(chain(), put("cluster/classes/0/memory_reserve_bytes", [0.0, 12.0])),
    "class.memory_reserve_share": fields(chain(), put("cluster/classes/0/memory_reserve_share", 0.5)),
    "link.transfer_scale": fields(chain(), put("cluster/classes/0/link", {"transfer_scale": 3.0})),
    "link.bandwidth_bytes_per_s": fields(sized(), put("cluster/classes/0/link/bandwidth_bytes_per_s", 4e8)),
    "link.latency_ms": fields(sized(), put("cluster/classes/0/link/latency_ms", 2.0)),
    "uplink.transfer_scale": fields(
        with_(chain(), put("cluster/servers", in_servers()["cluster"]["servers"])),
        put("cluster/servers/0/uplink/transfer_scale", 3.0),
        put("cluster/servers/1/uplink/transfer_scale", 3.0),
    ),
    "uplink.bandwidth_bytes_per_s": fields(
        in_servers(),
        put("cluster/servers/0/uplink/bandwidth_bytes_per_s", 4e8),
        put("cluster/servers/1/uplink/bandwidth_bytes_per_s", 4e8),
    ),
    "uplink.latency_ms": fields(
        in_servers(),
        put("cluster/servers/0/uplink/latency_ms", 2.0),
        put("cluster/servers/1/uplink/latency_ms", 2.0),
    ),
    "server.devices": fields(
        with_(
            in_servers(),
            put("cluster/servers/0/uplink/latency_ms", 2.0),
            put("cluster/servers/1/uplink/latency_ms", 2.0),
        ),
        put("cluster/servers/0/devices", ["gpu"]),
        put("cluster/servers/1/devices", []),
    ),
    "cluster.order": fields(two_classes(), put("cluster/order", ["big", "gpu"])),
    "training.optimizer": fields(WEIGHTS, put("training", {"optimizer": "sgd"})),
    "training.microbatches": fields(ACTIVE, put("training", {"microbatches": 6}), **GPIPE),
    "constraints.apart": fields(chain(), put("constraints", {"apart": [["b", "c"], ["a", "c"]]})),
    "constraints.max_devices": fields(chain(), put("constraints", {"max_devices": 1})),
    "constraints.use_devices": fields(chain(), put("constraints", {"use_devices": ["gpu0", "cpu0"]})),
    "option contiguous": Witness(
        Problem(SPREAD, {"contiguous": True}), Problem(SPREAD, {"contiguous": False})
    ),
    "option schedule": option(training(), GPIPE),
    "option microbatches": option(ACTIVE, {"microbatches": 6}, put("training", {"microbatches": 6}), **GPIPE),
    "option recompute": option(training(), {"recompute": "all"}),
    "option max_ms": option(chain(), {"max_ms": 6.0}),
    "option pieces": option(
        with_(
            chain(),
            put("nodes/1/pin", ["cpu"]),
            put("nodes/1/time_ms/cpu", 1.0),
            put("cluster/classes/0/count", 1),
        ),
        {"pieces": 2},
    ),
    "option communication": option(chain(), {"communication": "overlap"}),
    "option pin": option(chain(), {"pin": {"a": ("cpu",)}}, put("nodes/0/pin", ["cpu"])),
    "option forbid": option(chain(), {"forbid": {"a": ("gpu",)}}, put("nodes/0/forbid", ["gpu"])),
    "option together": option(
        chain(), {"together": (("a", "c"),)}, put("nodes/0/colocate", "g"), put("nodes/2/colocate", "g")
    ),
    "option apart": option(
        chain(), {"apart": (("b", "c"), ("a", "c"))}, put("constraints", {"apart": [["b", "c"], ["a", "c"]]})
    ),
    "option max_devices": option(chain(), {"max_devices": 1}, put("constraints", {"max_devices": 1})),
    "option use_devices": option(
        chain(), {"use_devices": ("gpu0", "cpu")}, put("constraints", {"use_devices": ["gpu0", "cpu0"]})
    ),
    "option replicas": option(HEAVY, {"replicas": 2}),
}
LATENCY = {
    "option contiguous": Witness(Problem(SPREAD, {"contiguous": False}), Problem(SPREAD)),
}
"""Where a single sample needs another witness."""

FREEDOMS = {"option pieces", "option replicas"}
"""Options that allow more: what is found out is a plan that uses what was not allowed."""


def witness(name: str, column: str) -> Witness:
    """The witness of a row for a column."""
    return LATENCY[name] if column.endswith("latency") and name in LATENCY else WITNESSES[name]


def goals() -> Document:
    """One large node that binds, and three small ones that may lie anywhere."""
    made = with_(chain(), FREE, put("edges", []), put("cluster/classes/0/count", 3))
    made["nodes"] = [node(name, time) for name, time in zip("abcd", (10.0, 2.0, 2.0, 3.0), strict=True)]
    return made


NEAR = {"a": "gpu2", "b": "gpu0", "c": "gpu1", "d": "gpu1"}
GOALS: dict[str, dict[str, Any]] = {
    "option balance": {"balance": True},
    "option near": {"near": NEAR},
    "option slack": {"near": NEAR | {"b": "gpu2"}, "slack": 0.25},
}
"""Options by goal, for `goals`."""


def labelled() -> Document:
    """Two layers of an imported model between an embedding and a head, whose first node has no weights."""
    made = with_(chain(), FREE, put("cluster/classes/0/count", 3))
    made["name"] = "labelled"
    made["nodes"] = [
        node(name, 2.0, layer=f"layer {name}", origin={"op": "linear", "module": module})
        for name, module in zip("abcde", ("embed", "layers.0", "layers.1", "head", "head"), strict=True)
    ]
    for v in made["nodes"]:
        v["name"] = f"node {v['id']}"
        weights = [] if v["id"] == "d" else [f"{v['origin']['module']}.weight"]
        v["origin"] |= {"parameters": weights, "flops": 8.0}
    made["edges"] = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"]]
    made["cluster"]["servers"] = [{"name": "s", "devices": ["gpu"]}]
    made["source"] = {"kind": "torch", "name": "zoo.py:model", "sha256": "0" * 64, "notes": ["by module"]}
    return made


def trained() -> Document:
    """The same in training, on groups of replicas and shards; each backward node with its forward one."""
    made = labelled()
    for v in made["nodes"]:
        v["colocate"] = v["id"]
    ahead = [v["id"] for v in made["nodes"]]
    made["nodes"] += [
        node(f"{name}'", 4.0, backward=True, colocate=name, layer=f"layer {name}") for name in ahead[::-1]
    ]
    back = [f"{name}'" for name in ahead[::-1]]
    made["edges"] += [[ahead[-1], back[0]], *map(list, pairwise(back))]
    made["training"] = {"samples": 2, "group": {"replicas": 2, "shards": 2, "zero": 1}}
    return made


def _swapped(document: Document) -> None:
    document["nodes"][1]["origin"]["module"] = "layers.1"
    document["nodes"][2]["origin"]["module"] = "layers.0"


def _renamed(document: Document) -> None:
    old, document["nodes"][1]["id"] = document["nodes"][1]["id"], "other"
    document["edges"] = [["other" if v == old else v for v in pair] for pair in document["edges"]]


def _class_renamed(document: Document) -> None:
    document["cluster"]["classes"][0]["name"] = "acc"
    for server in document["cluster"].get("servers", []):
        server["devices"] = ["acc"]


LABELS: dict[str, Edit] = {
    "instance.name": put("name", "other"),
    "node.id": _renamed,
    "node.name": put("nodes/1/name", "other"),
    "node.layer": put("nodes/1/layer", "other"),
    "origin.op": put("nodes/1/origin/op", "other"),
    "origin.module": _swapped,
    "origin.operators": put("nodes/1/origin/operators", ["other"]),
    "origin.parameters": put("nodes/3/origin/parameters", ["other.first"]),
    "origin.flops": put("nodes/1/origin/flops", 16.0),
    "source.kind": put("source/kind", "pipedream"),
    "source.name": put("source/name", "other"),
    "source.sha256": put("source/sha256", "1" * 64),
    "source.notes": put("source/notes", ["other"]),
    "class.name": _class_renamed,
    "server.name": put("cluster/servers", [{"name": "other", "devices": ["gpu"]}]),
    "training.samples": put("training/samples", 4),
    "group.replicas": put("training/group/replicas", 4),
    "group.shards": put("training/group/shards", 4),
    "group.zero": put("training/group/zero", 0),
    "group.apart": put("training/group/apart", True),
    "group.sequence_parallel": put("training/group/sequence_parallel", True),
    "class.price_per_hour": put("cluster/classes/0/price_per_hour", 2.0),
}
"""How each label is changed, in `labelled` or in the instance of a model."""
