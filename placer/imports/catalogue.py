"""Devices, links and clusters from TOML: the catalogue that comes with the package, and files of users."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from placer.choices import close_to, none_of
from placer.errors import InputError, UsageError
from placer.formats.text import read_text, validate
from placer.imports.precision import PRECISIONS
from placer.instance.cluster import DeviceClass, Link, Server
from placer.instance.cluster import Kind as DeviceKind
from placer.units import MAX_COUNT

__all__ = [
    "Catalogue",
    "Cluster",
    "ClusterEntry",
    "DeviceEntry",
    "LinkEntry",
    "catalogue",
    "entry_toml",
    "find_cluster",
    "find_device",
]

GIB = 2.0**30
RESERVE = 0.1
"""Share of a device's memory for what no plan counts: context, library workspace, fragmentation."""

Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceEntry(_Strict):
    """A device type."""

    description: str = ""
    kind: Literal["accelerator", "host"] = "accelerator"
    memory_gib: Positive | None = Field(default=None, description="None: no limit.")
    bandwidth_gb_per_s: Positive
    peak_tflops: Annotated[dict[str, Positive], Field(min_length=1)]
    compute_efficiency: Share = 0.5
    bandwidth_efficiency: Share = 0.8
    launch_ms: NotNegative = 0.005
    link: Name | None = None
    source: Name


class LinkEntry(_Strict):
    """A link of a device to the others' memory, in one direction."""

    description: str = ""
    gb_per_s: Positive
    latency_ms: NotNegative = 0.0
    source: Name


class ClassEntry(_Strict):
    """Some devices of one type."""

    device: Name
    count: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 1
    name: Name | None = None
    kind: Literal["accelerator", "host"] | None = None
    link: Name | None = None
    memory_gib: Positive | None = None
    reserve: Annotated[float, Field(ge=0, lt=1, description="Share of the memory that is kept free.")] = (
        RESERVE
    )
    price_per_hour: NotNegative | None = Field(
        default=None, description="What one of them costs, in any currency."
    )


class ServersEntry(_Strict):
    """Equal servers behind an uplink."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    uplink: Annotated[Name, Field(description="Link of each device to other servers.")]


class ClusterEntry(_Strict):
    """Classes of devices; with servers, those of each server."""

    description: str = ""
    classes: Annotated[list[ClassEntry], Field(min_length=1)]
    servers: ServersEntry | None = None


class Catalogue(_Strict):
    """Entries by name."""

    devices: dict[str, DeviceEntry] = {}
    links: dict[str, LinkEntry] = {}
    clusters: dict[str, ClusterEntry] = {}

    def over(self, other: Catalogue) -> Catalogue:
        """Return the entries of both; these win."""
        return Catalogue(
            devices=other.devices | self.devices,
            links=other.links | self.links,
            clusters=other.clusters | self.clusters,
        )


class Cluster(_Strict):
    """A cluster with everything that costs depend on.

    Parameters
    ----------
    name
        As asked for.
    classes
        The device classes of the instance.
    types
        The device entry of each type that a class names.
    servers
        Groups of devices behind an uplink.
    """

    name: str
    classes: tuple[DeviceClass, ...]
    types: dict[str, DeviceEntry]
    servers: tuple[Server, ...] = ()


def catalogue() -> Catalogue:
    """Return the catalogue that comes with the package."""
    folder = resources.files("placer") / "catalogue"
    whole = Catalogue()
    for name in ("devices.toml", "links.toml", "clusters.toml"):
        whole = _parse((folder / name).read_text(encoding="utf-8"), name).over(whole)
    return whole


def _parse(text: str, source: str) -> Catalogue:
    try:
        made = validate(Catalogue, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", source=source) from None
    except InputError as error:
        raise error.within(source) from None
    for name, device in made.devices.items():
        unknown = device.peak_tflops.keys() - PRECISIONS.keys()
        if unknown:
            raise InputError(
                f"unknown precision {min(unknown)!r}; there are {', '.join(PRECISIONS)}",
                place=f"devices.{name}.peak_tflops",
                source=source,
            )
    return made


def find_cluster(asked: str | Cluster | Sequence[str]) -> Cluster:
    """Find or build the cluster that ``--devices`` names.

    Parameters
    ----------
    asked
        A cluster of the catalogue (``4xa100-nvlink``), counts of devices (``a100:4,t4:2``, also ``4xa100``),
        servers of such devices behind a link (``8x8xa100-nvlink@infiniband-hdr``), or a TOML file with a
        cluster in it (``mine.toml``; ``mine.toml:NAME`` where it has several, or where its devices and links
        replace those of the catalogue in a cluster or in counts of devices: ``mine.toml:4xt4``).  Or a list
        of devices, which may be named several times; or a cluster itself.

    Raises
    ------
    UsageError
        When there is no such cluster or device.
    InputError
        When the file is wrong.
    """
    if isinstance(asked, Cluster):
        return asked
    if isinstance(asked, list | tuple) and asked and all(isinstance(name, str) for name in asked):
        count = Counter(asked)
        asked = ",".join(name if n == 1 else f"{name}:{n}" for name, n in count.items())
    if not isinstance(asked, str):
        raise UsageError(
            "a cluster is a name (4xa100-nvlink), counts of devices (a100:4,t4:2), a TOML file, a list of "
            f"devices or a Cluster; got {asked!r:.80}"
        )
    known = catalogue()
    file = re.fullmatch(r"(.+\.toml)(?::([^/\\]+))?", asked)
    if file is None:
        return _named(asked, known)
    path, name = file.groups()
    own = _parse(read_text(path), path)
    name = name or (next(iter(own.clusters)) if len(own.clusters) == 1 else None)
    if name is None:
        names = ", ".join(own.clusters) or "none"
        raise UsageError(f"{path}: name one of its clusters ({names}) as {Path(path).name}:NAME")
    try:
        return _named(name, own.over(known))
    except UsageError as error:
        raise InputError(str(error), source=path) from None


def find_device(text: str) -> tuple[str, DeviceEntry]:
    """Find a device type of the catalogue, or of a file (``mine.toml:NAME``).

    Raises
    ------
    UsageError
        When there is none of that name.
    InputError
        When the file is wrong.
    """
    path, colon, name = text.rpartition(":")
    known = (
        _parse(read_text(path), path).over(catalogue()) if colon and path.endswith(".toml") else catalogue()
    )
    if name not in known.devices:
        raise UsageError(none_of("device", name, known.devices))
    return name, known.devices[name]


def _named(text: str, known: Catalogue) -> Cluster:
    if text in known.clusters:
        return _build(text, known.clusters[text], known)
    servers = SERVERS.fullmatch(text)
    if servers is None:
        return _build(text, _entries(text, known), known)
    number, each, uplink = servers.groups()
    entry = known.clusters.get(each) or _entries(each, known)
    if entry.servers is not None:
        raise UsageError(f"--devices {text!r}: {each!r} has servers already")
    made = entry.model_copy(update={"servers": ServersEntry(count=int(number), uplink=uplink)})
    return _build(text, made, known)


SERVERS = re.compile(r"(\d{1,5})x(.+)@([^@]+)")
"""Equal servers behind an uplink: ``8x8xa100-nvlink@infiniband-hdr``."""


COUNTED = re.compile(r"(?P<device>[^:]+):(?P<count>\d{1,6})|(?P<number>\d{1,6})x(?P<kind>.+)")
"""Devices with their count, in either order: ``a100:4`` or ``4xa100``."""


def _entries(text: str, known: Catalogue) -> ClusterEntry:
    """Read a list of devices."""
    return ClusterEntry(classes=[_entry(part.strip(), text, known) for part in text.split(",")])


def _entry(part: str, text: str, known: Catalogue) -> ClassEntry:
    """Read one of the devices that a text lists."""
    match = COUNTED.fullmatch(part)
    device = part if match is None else (match["device"] or match["kind"])
    if device in known.devices:
        return ClassEntry(device=device, count=1 if match is None else int(match["count"] or match["number"]))
    meant = [part.replace(device, some) for some in (close_to(device, known.devices),) if some is not None]
    close = close_to(part, [*meant, *(known.clusters if part == text else ())])
    raise UsageError(
        f"--devices {text!r} is no cluster of the catalogue, no DEVICE:COUNT list and no .toml file"
        + ("" if close is None else f" (did you mean {close!r}?)")
        + "; `placer devices` lists what there is"
    )


def _build(name: str, entry: ClusterEntry, known: Catalogue) -> Cluster:
    classes, types, used = [], {}, set()
    for item in entry.classes:
        device = known.devices.get(item.device)
        if device is None:
            raise UsageError(f"cluster {name!r}: {none_of('device', item.device, known.devices)}")
        kind = DeviceKind(item.kind or device.kind)
        label = item.name or item.device
        if label[-1].isdigit():
            label += "-"  # members are called label0, label1, ...: keep the number apart
        if label in used:
            raise UsageError(f"cluster {name!r}: two classes are called {label!r}; give one a name")
        used.add(label)
        memory = item.memory_gib or device.memory_gib
        limit: dict[str, Any] = {}
        if memory is not None:
            limit["memory_limit_bytes"] = memory * GIB
            limit["memory_reserve_share"] = item.reserve
        if kind is DeviceKind.ACCELERATOR:
            limit["link"] = _link(name, item.link or device.link, known)
        limit["price_per_hour"] = item.price_per_hour
        count = item.count * (entry.servers.count if entry.servers else 1)
        classes.append(DeviceClass(label, item.device, count, kind, **limit))
        types[item.device] = device
    servers = () if entry.servers is None else _servers(name, classes, entry.servers, known)
    return Cluster(name=name, classes=tuple(classes), types=types, servers=servers)


def _servers(
    cluster: str, classes: Sequence[DeviceClass], entry: ServersEntry, known: Catalogue
) -> tuple[Server, ...]:
    """Deal the members of all classes out to servers."""
    uplink = _link(cluster, entry.uplink, known)
    out = []
    for s in range(entry.count):
        each = [range(s * cls.count // entry.count, (s + 1) * cls.count // entry.count) for cls in classes]
        members = (cls.member(i) for cls, own in zip(classes, each, strict=True) for i in own)
        out.append(Server(f"server{s}", tuple(members), uplink))
    return tuple(out)


def _link(cluster: str, name: str | None, known: Catalogue) -> Link:
    if name is None or name not in known.links:
        what = "no link is given" if name is None else none_of("link", name, known.links)
        raise UsageError(f"cluster {cluster!r}: {what}")
    link = known.links[name]
    return Link(bandwidth_bytes_per_s=link.gb_per_s * 1e9, latency_ms=link.latency_ms)


def entry_toml(table: str, name: str, entry: DeviceEntry | LinkEntry) -> str:
    """Write an entry of a table (``devices`` or ``links``) as TOML that `find_cluster` reads."""
    lines = [f"[{table}.{json.dumps(name)}]"]
    for field, value in entry.model_dump(exclude_none=True).items():
        if isinstance(value, dict):
            lines.append(f"{field} = {{ {', '.join(f'{k} = {v:.6g}' for k, v in value.items())} }}")
        else:
            lines.append(f"{field} = {json.dumps(value) if isinstance(value, str) else f'{value:.6g}'}")
    return "\n".join(lines) + "\n"
