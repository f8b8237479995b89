"""The documents of the project's own instance format, version 1, as pydantic models.

The models are the format: their JSON Schema is exported by `schema`, unknown fields are errors, and
nothing is converted silently (``"3"`` is no number, ``true`` is no number).  The one exception is
convenience: ids and group labels may be written as integers and are read as strings.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from placer.units import MAX_BYTES, MAX_COUNT, MAX_PRICE, MAX_TIME_MS

__all__ = [
    "FORMAT",
    "VERSION",
    "NativeClass",
    "NativeCluster",
    "NativeConstraints",
    "NativeGroup",
    "NativeInstance",
    "NativeLink",
    "NativeNode",
    "NativeOrigin",
    "NativeServer",
    "NativeShard",
    "NativeSource",
    "NativeTraining",
    "schema",
]

FORMAT: Literal["placer-instance"] = "placer-instance"
VERSION: Literal[1] = 1


def _label(value: Any) -> Any:
    """Read an integer label as a string; everything else is left for validation to judge."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Label = Annotated[
    str,
    Field(min_length=1),
    BeforeValidator(_label),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}),
]
Time = Annotated[float, Field(ge=0, le=MAX_TIME_MS, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=MAX_BYTES, allow_inf_nan=False)]
Sizes = Annotated[
    list[Size],
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "array", "items": {"type": "number"}}]}
    ),
]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[
    list[Name],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]


MAX_DEGREE = 1024
"""Largest accepted number of devices that split a node."""


def _degree(value: str) -> str:
    if not (value.isascii() and value.isdigit() and value[0] != "0" and 2 <= int(value[:9]) <= MAX_DEGREE):
        raise ValueError(f"a degree of sharding is a whole number in 2..{MAX_DEGREE}, got {value!r}")
    return value


Degree = Annotated[
    str,
    AfterValidator(_degree),
    WithJsonSchema({"type": "string", "pattern": "^([2-9]|[1-9][0-9]{1,3})$"}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NativeOrigin(_Strict):
    """What a node stands for in the model that it comes from; no plan depends on it, exports do."""

    op: str | None = Field(default=None, description="Operator type.")
    module: str | None = Field(default=None, description="Dotted path of its module.")
    operators: list[str] = Field(
        default=[],
        description="Operators of the source model: their first output tensors (ONNX) or node names (torch).",
    )
    parameters: list[str] = Field(default=[], description="Parameters and buffers that it reads.")
    flops: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Floating-point operations; a multiply-add counts as two."
    )


class NativeSource(_Strict):
    """The model that the instance was imported from."""

    kind: Literal["onnx", "torch", "pipedream", "hf", "gguf"] = Field(description="What kind of model.")
    name: Name = Field(description="File name, or module:factory.")
    sha256: str | None = Field(default=None, description="Hash of the file.")
    notes: list[str] = Field(default=[], description="How it was imported, one line each.")


class NativeGroup(_Strict):
    """What each device stands for, where costs are those of groups; no plan depends on it, exports do."""

    replicas: Count = Field(default=1, description="Copies of a stage, data parallel.")
    shards: Count = Field(default=1, description="Devices that split each node, tensor parallel.")
    zero: Annotated[int, Field(ge=0, le=2)] = Field(
        default=0, description="What replicas divide: 1 optimizer state, 2 gradients as well."
    )
    apart: bool = Field(default=False, description="Whether replicas are in different servers.")
    sequence_parallel: bool = Field(
        default=False, description="Whether shards divide norms and sums along the sequence."
    )


class NativeTraining(_Strict):
    """How a training graph is run."""

    optimizer: Literal["none", "sgd", "momentum", "adam", "mixed-adam"] = Field(
        default="none", description="Decides how many bytes are kept per byte of weights: 1, 2, 3, 4, 8."
    )
    microbatches: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(
        default=1, description="Microbatches per optimizer step."
    )
    samples: Count | None = Field(
        default=None, description="Samples of a microbatch; no plan depends on it, exports do."
    )
    group: NativeGroup = Field(default=NativeGroup(), description="What each device stands for.")


class NativeShard(_Strict):
    """A node on each device of a stage that splits it; what is left out is as for the whole node."""

    time_ms: dict[Name, Time] = Field(
        default={}, description="Processing time by device type, ms, without what the devices exchange."
    )
    memory_bytes: Size | None = Field(default=None, description="What each device keeps resident.")
    weight_bytes: Size | None = Field(default=None, description="Trainable weights on each device.")
    activation_bytes: Size | None = Field(
        default=None, description="What each device keeps per microbatch in flight."
    )
    collective_bytes: Size = Field(
        default=0.0,
        description="Summed over the devices (all-reduce) when the node runs; backward nodes have their own.",
    )


class NativeNode(_Strict):
    """An operator or a layer."""

    id: Label = Field(description="Unique id.")
    name: str | None = Field(default=None, description="Readable name; the id when left out.")
    time_ms: dict[Name, Time] = Field(
        description="Processing time by device type, ms; it cannot run on a type that is left out."
    )
    memory_bytes: Size = Field(default=0.0, description="What it keeps resident on its device.")
    weight_bytes: Size = Field(
        default=0.0, description="Trainable weights: resident, times what the optimizer keeps per weight."
    )
    activation_bytes: Size = Field(
        default=0.0, description="Kept per microbatch in flight between its forward and backward pass."
    )
    transfer_ms: Time | None = Field(
        default=None,
        description="Time to move its output between an accelerator and host memory, one way, over a "
        "link of scale 1; not together with output_bytes; 0 when both are left out.",
    )
    output_bytes: Size | None = Field(
        default=None,
        description="Size of its output; the transfer time follows from bandwidth and latency of the link.",
    )
    shards: dict[Degree, NativeShard] | None = Field(
        default=None,
        description="By the number of devices that split the node (tensor parallel): its figures on each.",
    )
    backward: bool = Field(default=False, description="Whether it belongs to the backward pass.")
    colocate: Label | None = Field(default=None, description="Nodes with equal values go to one device.")
    layer: Label | None = Field(default=None, description="Group for coarsening; never a constraint.")
    # Made by a factory, since pydantic copies a list that is a default deeply, for each node.
    pin: list[Name] = Field(
        default_factory=list,
        json_schema_extra={"default": []},
        description="Classes or devices: it goes to one of these (empty: to any).",
    )
    forbid: list[Name] = Field(
        default_factory=list,
        json_schema_extra={"default": []},
        description="Classes or devices that it must not go to.",
    )
    origin: NativeOrigin | None = Field(default=None, description="What it stands for in the model.")


class NativeLink(_Strict):
    """The link between the devices of a class and host memory."""

    transfer_scale: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = Field(
        default=1.0, description="Factor on every transfer_ms."
    )
    bandwidth_bytes_per_s: Annotated[float, Field(gt=0, le=MAX_BYTES, allow_inf_nan=False)] | None = Field(
        default=None, description="For nodes with output_bytes: bytes per second."
    )
    latency_ms: Time = Field(default=0.0, description="For nodes with output_bytes: added to each transfer.")


class NativePeerLink(_Strict):
    """The link between two devices of a class that run one stage together."""

    bandwidth_bytes_per_s: Annotated[float, Field(gt=0, le=MAX_BYTES, allow_inf_nan=False)] = Field(
        description="Bytes per second."
    )
    latency_ms: Time = Field(default=0.0, description="Added to each message.")


class NativeClass(_Strict):
    """``count`` identical devices, called ``<name>0``, ``<name>1``, and so on."""

    name: Name = Field(description="Unique name; the devices are called <name>0, <name>1, ...")
    type: Name = Field(description="Which entry of a node's time_ms applies.")
    kind: Literal["accelerator", "host"] = Field(
        default="accelerator",
        description="Hosts pay no transfers, and for latency run any number of nodes at once.",
    )
    count: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(description="How many there are.")
    memory_limit_bytes: Size | None = Field(
        default=None, description="Memory of one device; null for no limit."
    )
    memory_reserve_bytes: Sizes = Field(
        default=[0.0], description="Taken by others: one size for all devices, or a list with one per device."
    )
    memory_reserve_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Taken by others as well: a share of the limit, which follows when that changes.",
    )
    price_per_hour: Annotated[float, Field(ge=0, le=MAX_PRICE)] | None = Field(
        default=None, description="What one device costs per hour, in any currency; for the cheapest choice."
    )
    link: NativeLink = Field(default=NativeLink(), description="The link of each device to host memory.")
    peer_link: NativePeerLink | None = Field(
        default=None,
        description="What devices that run one stage together (shards, replicas) exchange data over; their "
        "link when left out.",
    )


class NativeServer(_Strict):
    """Devices with fast links among themselves, behind an uplink."""

    name: Name = Field(description="Unique name.")
    devices: list[Name] = Field(description="Devices, or classes for all of their members.")
    uplink: NativeLink = Field(
        default=NativeLink(),
        description="The way of each device to other servers; a transfer across servers takes as long as the "
        "slower of this and the device's own link.",
    )


class NativeCluster(_Strict):
    """The devices."""

    classes: list[NativeClass] = Field(description="Classes of interchangeable devices.")
    servers: list[NativeServer] = Field(
        default=[], description="Groups of devices; a device that is in none is apart from all others."
    )
    order: list[Names] = Field(
        default=[],
        description="Classes or devices in the order in which a contiguous pipeline must use them; those in "
        "a list share a place, and what is not named may come anywhere.",
    )


class NativeConstraints(_Strict):
    """Rules on the plan as a whole."""

    apart: list[Annotated[list[Label], Field(min_length=2)]] = Field(
        default=[], description="Groups of node ids; the nodes of a group go to different devices."
    )
    max_devices: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="At most so many devices hold nodes, hosts included."
    )
    use_devices: list[Name] = Field(
        default=[], description="Exactly these devices hold nodes, each at least one (empty: no rule)."
    )


class NativeInstance(_Strict):
    """A graph with costs and the cluster it is to be placed on."""

    format: Literal["placer-instance"] = Field(description="Marks the format.")
    version: Literal[1] = Field(description="Version of the format.")
    name: Name = Field(default="instance", description="What results call it.")
    nodes: list[NativeNode] = Field(description="Operators or layers.")
    edges: list[Annotated[list[Label], Field(min_length=2, max_length=2)]] = Field(
        description="Data dependencies as pairs [producer id, consumer id]; acyclic."
    )
    cluster: NativeCluster = Field(description="The devices.")
    training: NativeTraining = Field(default=NativeTraining(), description="Optimizer and microbatches.")
    constraints: NativeConstraints = Field(
        default=NativeConstraints(), description="Rules on the plan as a whole."
    )
    source: NativeSource | None = Field(default=None, description="The model that it was imported from.")


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **NativeInstance.model_json_schema(),
        "title": f"{FORMAT} version {VERSION}",
    }
