"""The table: one row for every field of the format and every option; what no cell says is obeyed."""

from __future__ import annotations

from placer.exports import FORMATS
from tests.audit.cells import METHOD_COLUMNS, Cell, Kind, Row, meaningless, no_plan, refused

THROUGHPUT = [c for c in METHOD_COLUMNS if not c.endswith("latency")]
ONE_SAMPLE = meaningless("a single sample has no microbatches in flight, passes or pipeline order")
NOT_CONTIGUOUS = meaningless("an order of devices is one of a contiguous pipeline")
THROUGHPUT_ONLY = refused("throughput only")


def all_but(able: str, cell: Cell) -> dict[str, Cell]:
    """The cell for throughput by all methods but those named."""
    return {c: cell for c in THROUGHPUT if c not in able.split()}


NO_UPLINKS = all_but("auto milp dpl first-fit expert single", refused("transfers across servers cost more"))
NOT_APART = all_but("auto milp", refused("nodes apart"))
NOT_USED = all_but("auto milp", refused("devices that must be used"))
NO_RECOMPUTE = all_but("auto milp dp dpl first-fit", refused("recompute"))
NO_GOALS = {"paper": refused("secondary goals need --formulation ordered")}
SHARED = refused("share a stage")
NAMES_PLACES = "names things, in rules and results"
OF_THE_MODEL = "says where things come from; only exports for that model read it"
OF_DEVICES = "says what costs stand for; only exports for launchers of training read it"
LAUNCHERS = ("export megatron", "export torchtitan", "export deepspeed")
ONNX = ("export onnx", "export onnx-parts", "export onnx-runtime")
ONE_ACCELERATOR = ("export onnx-runtime",)
LIMITS = "how long and how hard the search tries; no plan depends on it that is proven best"


OF_TEAMS = "for stages on several devices: all exact methods, in pairs, in tests/test_feature_pairs.py"


def holder(name: str) -> Row:
    return Row(name, Kind.HOLDER, why="its fields have rows of their own")


def label(name: str, *shown: str, why: str = NAMES_PLACES) -> Row:
    return Row(name, Kind.LABEL, shown=shown, why=why)


TABLE = [
    Row("instance.format", Kind.HOLDER, why="readers refuse any other"),
    Row("instance.version", Kind.HOLDER, why="readers refuse any other"),
    label("instance.name", "export dot", "export graphml", *LAUNCHERS, "page"),
    *(holder(f"instance.{name}") for name in ("nodes", "cluster", "training", "constraints", "source")),
    Row("instance.edges", Kind.COST),
    label("node.id", "export csv", "export graphml", "export paper-json", "page"),
    label("node.name", "export csv", "export dot", "export graphml", "page"),
    Row("node.time_ms", Kind.COST),
    Row("node.memory_bytes", Kind.MEMORY),
    Row("node.weight_bytes", Kind.MEMORY),
    Row("node.activation_bytes", Kind.MEMORY, latency=ONE_SAMPLE),
    Row("node.transfer_ms", Kind.COST),
    Row("node.output_bytes", Kind.COST),
    Row("node.shards", Kind.HOLDER, why=OF_TEAMS),
    Row("node.backward", Kind.COST, latency=ONE_SAMPLE),
    Row("node.colocate", Kind.RULE),
    label("node.layer", "export csv", "export graphml", "page", why="for coarsening and drawing, no rule"),
    Row("node.pin", Kind.RULE),
    Row("node.forbid", Kind.RULE),
    holder("node.origin"),
    label("origin.op", "export csv", "export graphml", why=OF_THE_MODEL),
    label(
        "origin.module",
        "export csv",
        "export graphml",
        "export device-map",
        "export torch-split",
        "export layer-counts",
        *LAUNCHERS,
        why=OF_THE_MODEL,
    ),
    label("origin.operators", *ONNX, why=OF_THE_MODEL),
    label(
        "origin.parameters",
        "export device-map",
        "export torch-split",
        "export layer-counts",
        *LAUNCHERS,
        why=OF_THE_MODEL,
    ),
    label("origin.flops", "export csv", "export graphml", why=OF_THE_MODEL),
    label(
        "source.kind",
        "export device-map",
        "export torch-split",
        *ONNX,
        why=OF_THE_MODEL,
    ),
    label("source.name", why="tells what was imported"),
    label("source.sha256", *ONNX, why=OF_THE_MODEL),
    label("source.notes", why="tells how it was imported"),
    label(
        "class.name",
        "export csv",
        "export dot",
        "export graphml",
        "export torch-split",
        "export layer-counts",
        *LAUNCHERS,
        "export onnx",
        "export onnx-parts",
        "page",
    ),
    Row("class.type", Kind.COST),
    Row(
        "class.kind",
        Kind.COST,
        cells={
            "single": no_plan("no single device holds everything"),
            "single latency": no_plan("no single device holds everything"),
            "partition": no_plan("pins and types leave no contiguous plan along the parts"),
        },
    ),
    Row("class.count", Kind.RULE),
    Row("class.memory_limit_bytes", Kind.MEMORY),
    Row("class.memory_reserve_bytes", Kind.MEMORY),
    Row("class.memory_reserve_share", Kind.MEMORY),
    label("class.price_per_hour", "page", why="for the objective cost; the page shows the hash with it"),
    holder("class.link"),
    Row("class.peer_link", Kind.HOLDER, why=OF_TEAMS),
    Row("link.transfer_scale", Kind.COST),
    Row("link.bandwidth_bytes_per_s", Kind.COST),
    Row("link.latency_ms", Kind.COST),
    holder("cluster.classes"),
    holder("cluster.servers"),
    label("server.name", "page", why="tells servers apart; the page shows the hash that it is part of"),
    *(
        Row(name, Kind.COST, cells=NO_UPLINKS, latency=THROUGHPUT_ONLY)
        for name in (
            "server.devices",
            "uplink.transfer_scale",
            "uplink.bandwidth_bytes_per_s",
            "uplink.latency_ms",
        )
    ),
    holder("server.uplink"),
    Row(
        "cluster.order",
        Kind.RULE,
        latency=ONE_SAMPLE,
        cells={"colgen": NOT_CONTIGUOUS, "paper": refused("knows no order of the devices")},
    ),
    Row("training.optimizer", Kind.MEMORY),
    Row("training.microbatches", Kind.MEMORY, latency=ONE_SAMPLE),
    label("training.samples", *LAUNCHERS, why=OF_DEVICES),
    holder("training.group"),
    label("group.replicas", *LAUNCHERS, why=OF_DEVICES),
    label("group.shards", *LAUNCHERS, why=OF_DEVICES),
    label("group.zero", *LAUNCHERS, why=OF_DEVICES),
    label("group.apart", *LAUNCHERS, why=OF_DEVICES),
    label("group.sequence_parallel", *LAUNCHERS[:2], why=OF_DEVICES),
    Row("constraints.apart", Kind.RULE, cells=NOT_APART, latency=THROUGHPUT_ONLY),
    Row("constraints.max_devices", Kind.RULE),
    Row("constraints.use_devices", Kind.RULE, cells=NOT_USED, latency=THROUGHPUT_ONLY),
    Row("option objective", Kind.HOLDER, why="its values have columns of their own"),
    Row(
        "option contiguous",
        Kind.RULE,
        latency=refused("contiguous pieces"),
        cells={"colgen": no_plan("does not keep plans contiguous")},
    ),
    Row("option schedule", Kind.COST, latency=ONE_SAMPLE),
    Row("option microbatches", Kind.MEMORY, latency=ONE_SAMPLE),
    Row("option recompute", Kind.COST, cells=NO_RECOMPUTE, latency=refused("recompute")),
    Row(
        "option pieces",
        Kind.RULE,
        throughput=refused("latency objective only"),
        cells={
            "expert latency": no_plan("pieces wait for each other"),  # a split has one entry per device
            "export paper-json": refused("several pieces"),
            "export torch-split": refused("separate parts"),
            "export layer-counts": refused("separate parts"),
            **dict.fromkeys(LAUNCHERS, refused("for plans of training")),
            **dict.fromkeys(ONE_ACCELERATOR, refused("a session has one accelerator")),
        },
    ),
    Row("option method", Kind.HOLDER, why="its values have columns of their own"),
    Row(
        "option formulation",
        Kind.HOLDER,
        why="methods but milp solve no program by name; auto refuses the paper's",
    ),
    Row("option communication", Kind.COST, latency=refused("sequential communication")),
    *(Row(f"option {name}", Kind.SEARCH, why=LIMITS) for name in ("time_limit", "gap", "threads", "seed")),
    Row("option virtual_stages", Kind.HOLDER, why="for the objective step only (test_virtual_stages.py)"),
    Row("option samples", Kind.HOLDER, why="for the objective step only (tests/methods/test_step.py)"),
    Row("option max_ms", Kind.RULE, throughput=refused("max_ms"), latency=refused("max_ms")),
    Row("option memory_limit_mb", Kind.SEARCH, why=LIMITS),
    Row("option split", Kind.SEARCH, why="a file for method expert, whose column reads one for every row"),
    Row("option pin", Kind.RULE),
    Row("option forbid", Kind.RULE),
    Row("option together", Kind.RULE),
    Row("option apart", Kind.RULE, cells=NOT_APART, latency=THROUGHPUT_ONLY),
    Row("option max_devices", Kind.RULE),
    Row("option use_devices", Kind.RULE, cells=NOT_USED, latency=THROUGHPUT_ONLY),
    Row(
        "option replicas",
        Kind.COST,
        latency=THROUGHPUT_ONLY,
        cells={"expert": refused("a split names single devices")}
        | {f"export {name}": SHARED for name, info in FORMATS.items() if not info.knows_replicas}
        | dict.fromkeys(LAUNCHERS, refused("all stages have the same degrees")),
    ),
    *(Row(f"option {name}", Kind.HOLDER, why=OF_TEAMS) for name in ("shards", "zero", "uniform")),
    *(
        Row(f"option {name}", Kind.GOAL, cells=NO_GOALS, latency=refused("throughput only"))
        for name in ("balance", "near", "slack")
    ),
]
ROWS = {row.name: row for row in TABLE}
