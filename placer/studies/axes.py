"""What a sweep varies: numbers of devices, memory limits, bandwidths, the limit on the time per sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from placer.choices import none_of
from placer.errors import UsageError
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance

__all__ = ["MAX_POINTS", "Axis", "Resource", "parse_axis", "variant"]

MAX_POINTS = 1000
"""Largest number of points of a sweep."""

Resource = Literal["devices", "memory", "bandwidth", "max-ms"]
UNITS = {"": 1.0} | {
    f"{prefix}{suffix}": factor
    for suffix, base in (("B", 1000.0), ("iB", 1024.0))
    for prefix, factor in (("K", base), ("M", base**2), ("G", base**3), ("T", base**4))
}
NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?P<unit>[KMGT]i?B)?(?:/s)?")


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Parameters
    ----------
    resource
        ``devices`` (count of a class), ``memory`` (limit per accelerator), ``bandwidth`` (of links) or
        ``max-ms`` (the option, in place of what the instance has).
    class_name
        The device class; None means the only accelerator class for devices, else all accelerators.
    values
        Counts, bytes, bytes per second or ms; factors on what the instance has when ``relative``.
    relative
        Whether values are factors.
    """

    resource: Resource
    class_name: str | None
    values: tuple[float, ...]
    relative: bool = False

    @property
    def label(self) -> str:
        """Name for tables."""
        return self.resource if self.class_name is None else f"{self.resource}:{self.class_name}"


def parse_axis(text: str) -> Axis:
    """Read an axis: ``devices=2..16``, ``devices:gpu=2,4,8``, ``memory=8GiB,16GiB``, ``bandwidth=x0.5,x2``.

    Raises
    ------
    UsageError
        Saying what is wrong with it.
    """
    head, equals, tail = text.partition("=")
    name, _, cls = head.strip().partition(":")
    if equals and name not in get_args(Resource):
        raise UsageError(f"option vary: {none_of('resource', name, get_args(Resource))}")
    if not equals:
        raise UsageError(
            f"option vary: expected devices=..., memory=..., bandwidth=... or max-ms=..., got {text!r} "
            "(for one class of devices: devices:NAME=...)"
        )
    values: list[float] = []
    factors = set()
    for part in tail.split(","):
        body = part.strip()
        is_factor = body.startswith("x")
        factors.add(is_factor)
        found = _range(body) if ".." in body else [_number(body.removeprefix("x"), text)]
        values += found
    if len(factors) > 1:
        raise UsageError(f"option vary: factors (x0.5) and values cannot be mixed, got {text!r}")
    relative = True in factors
    if name == "devices" and (relative or any(v != int(v) for v in values)):
        raise UsageError(f"option vary: devices are whole numbers, got {text!r}")
    if name != "devices" and any(v <= 0 for v in values):
        raise UsageError(f"option vary: values must be above 0, got {text!r}")
    resource: Resource = next(known for known in get_args(Resource) if known == name)
    if resource == "max-ms" and (cls or relative):
        raise UsageError(f"option vary: max-ms is a time for all devices, as in max-ms=20,40, got {text!r}")
    return Axis(resource, cls or None, tuple(sorted(set(values))), relative)


def _range(text: str) -> list[float]:
    match = re.fullmatch(r"(\d+)\.\.(\d+)(?::(\d+))?", text)
    if match is None or int(match[1]) > int(match[2]) or match[3] == "0":
        raise UsageError(f"option vary: expected whole numbers such as 2..16 or 2..16:2, got {text!r}")
    low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if (high - low) // step >= MAX_POINTS:
        raise UsageError(f"option vary: {text!r} has more than {MAX_POINTS} values")
    return [float(v) for v in range(low, high + 1, step)]


def _number(text: str, whole: str) -> float:
    match = NUMBER.fullmatch(text)
    if match is None:
        raise UsageError(f"option vary: {text!r} in {whole!r} is no number (units: {', '.join(UNITS)[2:]})")
    return float(match["number"]) * UNITS[match["unit"] or ""]


def variant(instance: Instance, settings: Sequence[tuple[Axis, float]]) -> Instance:
    """Return the instance with other resources.

    Raises
    ------
    UsageError
        When an axis names no class, or absolute bandwidths meet transfer times without sizes.
    InputError
        When the instance does not make sense so, for example because a pin names a device that is gone.
    """
    classes = list(instance.classes)
    for axis, value in settings:
        if axis.resource == "max-ms":
            continue
        chosen = _chosen(classes, axis)
        if axis.resource == "bandwidth" and not axis.relative and _has_direct_transfers(instance):
            raise UsageError(
                "option vary: some nodes have transfer times but no sizes; vary bandwidth by factors (x0.5)"
            )
        for c in chosen:
            classes[c] = _changed(classes[c], axis, value)
    return instance.replace(classes=tuple(classes))


def _has_direct_transfers(instance: Instance) -> bool:
    return bool((instance.transfer_ms > 0).any())  # nan where the size is given


def _chosen(classes: list[DeviceClass], axis: Axis) -> list[int]:
    if axis.class_name is not None:
        found = [c for c, cls in enumerate(classes) if cls.name == axis.class_name]
        if not found:
            known = [cls.name for cls in classes]
            raise UsageError(f"option vary: {none_of('class', axis.class_name, known)}")
        return found
    accelerators = [c for c, cls in enumerate(classes) if not cls.is_host]
    if axis.resource == "devices" and len(accelerators) != 1:
        names = ", ".join(f"devices:{classes[c].name}" for c in accelerators)
        raise UsageError(f"option vary: say which class of devices ({names or 'there are only hosts'})")
    return accelerators


def _changed(cls: DeviceClass, axis: Axis, value: float) -> DeviceClass:
    if axis.resource == "devices":
        return replace(cls, count=int(value))
    if axis.resource == "memory":
        return replace(cls, memory_limit_bytes=cls.memory_limit_bytes * value if axis.relative else value)
    link = cls.link
    if not axis.relative:
        return replace(cls, link=replace(link, bandwidth_bytes_per_s=value))
    bandwidth = None if link.bandwidth_bytes_per_s is None else link.bandwidth_bytes_per_s * value
    return replace(
        cls,
        link=replace(link, bandwidth_bytes_per_s=bandwidth, transfer_scale=link.transfer_scale / value),
    )
