"""Overrides by hand: what the options ask for on top of the instance's own rules.

`apply` writes them into the instance that plans are made for and judged by, wherever there are options, so
that every method and the verification see one set of rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from placer.choices import offer
from placer.errors import UsageError
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.options import Options

__all__ = ["apply"]


def apply(instance: Instance, options: Options) -> Instance:
    """Return the instance with the overrides of the options written into it.

    A pin replaces the pins that a node has, everything else adds to what the instance asks for.  Nodes are
    named by id, by name, or by a pattern with ``*``, ``?`` and ``[...]`` that matches either.

    Raises
    ------
    UsageError
        When a name matches no node or no device.
    """
    pin, forbid, colocate = list(instance.pin), list(instance.forbid), list(instance.colocate)
    for pattern, devices in options.pin.items():
        for v in nodes_named(instance, pattern, "pin"):
            pin[v] = _devices(instance, devices, "pin")
    for pattern, devices in options.forbid.items():
        for v in nodes_named(instance, pattern, "forbid"):
            forbid[v] = (*forbid[v], *_devices(instance, devices, "forbid"))
    for patterns in options.together:
        _join(colocate, _nodes(instance, patterns, "together"), set(instance.groups))
    rules = instance.constraints
    apart = tuple(tuple(_nodes(instance, patterns, "apart")) for patterns in options.apart)
    limits = [x for x in (rules.max_devices, options.max_devices) if x is not None]
    use = _devices(instance, options.use_devices, "use-devices", members=True) or rules.use_devices
    constraints = Constraints((*rules.apart, *apart), min(limits, default=None), use)
    training = instance.training
    if options.microbatches is not None:
        training = replace(training, microbatches=options.microbatches)
    changes: dict[str, object] = {"pin": tuple(pin), "forbid": tuple(forbid), "colocate": tuple(colocate)}
    changes |= {"constraints": constraints, "training": training}
    if all(getattr(instance, key) == value for key, value in changes.items()):
        return instance
    return instance.replace(**changes)


def nodes_named(instance: Instance, pattern: str, what: str) -> list[int]:
    """Return the nodes that a pattern means: the one with that id, else all whose id or name matches.

    Raises
    ------
    UsageError
        When there is none.
    """
    if pattern in instance.index:
        return [instance.index[pattern]]
    found = [
        v
        for v, names in enumerate(zip(instance.ids, instance.names, strict=True))
        if any(fnmatchcase(name, pattern) for name in names)
    ]
    if not found:
        rest = offer(pattern, dict.fromkeys((*instance.ids, *instance.names)))
        raise UsageError(f"option {what}: no node is called {pattern!r}, and none matches it{rest}")
    return found


def _nodes(instance: Instance, patterns: Iterable[str], what: str) -> list[int]:
    found = sorted({v for pattern in patterns for v in nodes_named(instance, pattern, what)})
    if len(found) < 2:
        raise UsageError(f"option {what}: needs at least two nodes, got {len(found)}")
    return found


def _devices(
    instance: Instance, names: tuple[str, ...], what: str, *, members: bool = False
) -> tuple[str, ...]:
    """Check names of devices or classes; with ``members`` a class stands for all of its devices."""
    out: list[str] = []
    for name in names:
        cls = next((c for c in instance.classes if c.name == name), None)
        if cls is None and name not in instance.device_index:
            known = [*(some.name for some in instance.classes), *instance.device_index]
            raise UsageError(f"option {what}: {name!r} is no device and no class{offer(name, known)}")
        more = [cls.member(i) for i in range(cls.count)] if cls is not None and members else [name]
        twice = [device for device in more if device in out]
        if members and twice:
            raise UsageError(f"option {what}: {twice[0]!r} is listed twice")
        out += more
    return tuple(dict.fromkeys(out))


def _join(colocate: list[str | None], nodes: list[int], taken: set[str]) -> None:
    """Put nodes into one colocation group, with everything that is in a group with one of them."""
    groups = {colocate[v] for v in nodes} - {None}
    label = min((g for g in groups if g is not None), default="")
    count = 0
    while not label or (not groups and label in taken):
        count += 1
        label = f"together{count}"
    taken.add(label)
    for v, group in enumerate(colocate):
        if v in nodes or (group is not None and group in groups):
            colocate[v] = label
