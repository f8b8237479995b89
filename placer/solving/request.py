"""What is asked for: options that make sense together, and for the instance and the method."""

from __future__ import annotations

from enum import StrEnum
from typing import Unpack

import numpy as np
from pydantic import ValidationError

from placer.choices import none_of, offer
from placer.errors import UsageError
from placer.instance import overrides
from placer.instance.instance import Instance
from placer.instance.rules import check_runnable
from placer.methods.registry import METHODS
from placer.objectives import OBJECTIVES
from placer.options import Formulation, Objective, OptionChanges, Options, Recompute
from placer.plans.interleaved import ranks_of
from placer.plans.plan import Plan
from placer.plans.verify import violations

__all__ = ["check_request", "make_options"]


def make_options(options: Options | None = None, **changes: Unpack[OptionChanges]) -> Options:
    """Validate options and what they mean together.

    Raises
    ------
    UsageError
        Naming the option and what is wrong with it.
    """
    try:
        base = options.model_dump() if options is not None else {}
        made = Options(**{**base, **changes})
    except ValidationError as error:
        raise UsageError(_wrong_option(error)) from None
    if made.method not in METHODS:
        raise UsageError(none_of("method", made.method, METHODS))
    if made.objective not in METHODS[made.method].objectives:
        raise UsageError(f"method {made.method} does not plan for {made.objective}")
    if made.recompute is not Recompute.NONE:
        if not made.pipelined or not made.strictly_ordered:
            raise UsageError("only contiguous throughput plans recompute")
        if not METHODS[made.method].recompute:
            able = _able("recompute")
            raise UsageError(f"method {made.method} cannot plan what recomputes; choose from {able}")
    if made.recompute is Recompute.LAYERS and (refusal := _by_layer(made)) is not None:
        raise UsageError(refusal)
    if made.pipelined and made.pieces != 1:
        raise UsageError("pieces apply to the latency objective only")
    if made.samples is not None and made.objective is not Objective.STEP:
        raise UsageError("samples says how long a request is, and applies to the objective step only")
    if made.virtual_stages > 1 and made.objective is not Objective.STEP:
        raise UsageError("virtual stages shorten fill and drain of a step, and apply to the objective step")
    if refusal := OBJECTIVES[made.objective].refused(made):
        raise UsageError(refusal)
    if made.per_device_contiguity and (made.balance or made.near):
        raise UsageError("secondary goals need --formulation ordered")
    return made


def _by_layer(options: Options) -> str | None:
    """Say why nodes cannot choose here whether they recompute, or None when they can."""
    if options.objective not in (Objective.THROUGHPUT, Objective.STEP):
        return f"recompute: layers is planned for throughput and step, not for {options.objective}; auto is"
    if options.virtual_stages > 1:
        return "recompute: layers is planned for plain stages; with virtual stages choose auto"
    also = OBJECTIVES[options.objective].layers
    if not METHODS[options.method].layers and options.method not in also:
        able = ", ".join([_able("layers"), *sorted(also)])
        return f"method {options.method} cannot plan which nodes recompute; choose from {able}"
    return None


def _wrong_option(error: ValidationError) -> str:
    """Say what is wrong with the first option that is."""
    first = error.errors(include_url=False)[0]
    option = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return none_of("option", option, Options.model_fields)
    kind = Options.model_fields[option].annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"option {option}: invalid value {first['input']!r}{offer(first['input'], kind)}"
    name = ".".join(str(part) for part in first["loc"])
    what = first["msg"].replace("Input should be", "must be").replace("a valid tuple", "a list or a tuple")
    return f"option {name}: {what}, got {first['input']!r}"


def _able(ability: str) -> str:
    """List the methods with an ability."""
    return ", ".join(name for name, info in METHODS.items() if getattr(info, ability))


def check_request(instance: Instance, ruled: Instance, options: Options, start: Plan | None) -> None:
    """Check that the options have a meaning for an instance, and that nothing of it would be ignored.

    Parameters
    ----------
    instance, ruled
        As given, and with the overrides of the options.
    options, start
        What is asked for, and the plan to start from.

    Raises
    ------
    UsageError
        When they do not fit.
    InputError
        When a node has no device to run on.
    """
    if (refusal := _constraints(ruled, options) or _teams(ruled, options)) is not None:
        raise UsageError(refusal)
    check_runnable(ruled)
    if (refusal := _meaningless(instance, options) or _ignored(instance, options)) is not None:
        raise UsageError(refusal)
    if start is not None and (broken := violations(ruled, start, options)):
        raise UsageError(f"the plan to start from does not hold here: {broken[0]}")


def _constraints(instance: Instance, options: Options) -> str | None:
    """Say why a method cannot keep the constraints of an instance, or None when it can."""
    rules = instance.constraints
    if not rules.apart and not rules.use_devices:
        return None
    what = "nodes apart" if rules.apart else "devices that must be used"
    if not options.pipelined:
        return f"{what} are supported for throughput only"
    if not METHODS[options.method].constraints:
        return f"method {options.method} cannot keep {what}; milp and auto can"
    if options.papers_program:
        return f"the paper's program knows no {what}; use --formulation ordered"
    return None


def _teams(instance: Instance, options: Options) -> str | None:
    """Say why stages cannot run on several devices here, or None when they can."""
    if not options.teams:
        return None
    if not options.pipelined:
        return "replication and shards apply to throughput only"
    if METHODS[options.method].split:
        return f"a split names single devices: method {options.method} takes no replicas and no shards"
    if options.balance or options.near:
        return (
            "replication and shards cannot be combined with secondary goals (balance, near): they weigh "
            "single devices"
        )
    known = [some.degree for some in instance.shards]
    for degree in options.degrees(known):
        if degree > 1 and degree not in known:
            there = f"there are figures for {', '.join(map(str, known))}" if known else "there are none"
            return f"shards: no node has figures for {degree} shards; {there}"
    return _peers(instance, options)


def _peers(instance: Instance, options: Options) -> str | None:
    """Say which class lacks the bandwidth of links among its devices, or None."""
    syncs = options.replicas > 1 and instance.is_training and instance.weight_bytes.any()
    used = set(options.degrees([some.degree for some in instance.shards]))
    sums = any(some.collective_bytes.any() for some in instance.shards if some.degree in used)
    for cls in instance.classes:
        if not cls.is_host and cls.count > 1 and cls.peers.bandwidth_bytes_per_s is None:
            if syncs:
                return f"replicas synchronise their weights: the link of class {cls.name!r} needs a bandwidth"
            if sums:
                return f"shards sum up what they compute: the link of class {cls.name!r} needs a bandwidth"
    return None


def _meaningless(instance: Instance, options: Options) -> str | None:
    """Say which option has no meaning here, or None."""
    if options.recompute is not Recompute.NONE and not instance.is_training:
        return "recompute applies to training graphs, and this one has no backward nodes"
    if options.zero and not instance.is_training:
        return "zero applies to training graphs, and this one has no backward nodes"
    if options.samples is not None and instance.is_training:
        return "samples applies to inference; a step of training has microbatches"
    if options.virtual_stages > 1 and (refusal := _virtual_stages(instance, options)) is not None:
        return refusal
    if options.method == "auto" and options.formulation is Formulation.PAPER:
        return "auto uses the default formulation; the paper's program is there for --method milp"
    return OBJECTIVES[options.objective].unsuited(instance)


def _virtual_stages(instance: Instance, options: Options) -> str | None:
    """Say why devices cannot hold several virtual stages each, or None when they can."""
    if not instance.is_training:
        return "virtual stages apply to training graphs, and this one has no backward nodes"
    ruled = overrides.apply(instance, options)
    hosts = np.array([d.is_host for d in ruled.devices])
    only = np.flatnonzero(~ruled.allowed[:, ~hosts].any(axis=1))
    if only.size:
        return f"virtual stages are on accelerators, and node {ruled.ids[only[0]]!r} can run on none"
    ranks, count = ranks_of(ruled), options.microbatches or instance.training.microbatches
    if count % ranks:
        return (
            f"with virtual stages the microbatches are served in groups of as many as there are devices: "
            f"{count} are no multiple of {ranks} (--microbatches {count - count % ranks + ranks}, or use "
            "fewer devices with --max-devices)"
        )
    return None


def _ignored(instance: Instance, options: Options) -> str | None:
    """Say what of the cluster the method would not look at, or None."""
    if instance.servers:
        costs = "know that transfers across servers cost more"
        if options.papers_program:
            return f"the paper's program does not {costs}; use the default formulation"
        if (
            not METHODS[options.method].servers
            and options.method not in OBJECTIVES[options.objective].servers
        ):
            return f"method {options.method} does not {costs}; choose from {_able('servers')}"
    if instance.order and options.per_device_contiguity and options.pipelined:
        return (
            "the paper's program knows no order of the devices, and the cluster has one; use the default "
            "formulation"
        )
    return None
