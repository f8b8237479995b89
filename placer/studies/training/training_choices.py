"""What a training run may choose: microbatch size, degrees, where replicas are and what they divide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from placer.errors import UsageError
from placer.instance.training import Optimizer
from placer.options import Communication, Recompute, Schedule
from placer.studies.saved import Document

__all__ = ["VIRTUAL", "Choice", "TrainingRequest", "choices"]

ZERO = (0, 1, 2)
VIRTUAL = (1, 2, 4)
"""Virtual stages of a device that are tried unless told otherwise: each halves the bubble of the last."""
MOST_SAMPLES = 2**31


class TrainingRequest(Document):
    """What is asked of a training run.

    Parameters
    ----------
    global_batch
        Samples (sequences) of one optimizer step.
    sequence
        Tokens of each; None for what the model says.
    max_microbatch
        Samples of a microbatch at most.
    replicas, shards, zero
        Degrees that are allowed; None for all that fit.
    virtual_stages
        Virtual stages of each device that are allowed (1: a plain pipeline); None for a few.
    recompute
        Whether stages may, must or must not compute their activations again.
    schedule, communication
        As for a solve.
    optimizer
        What is kept per weight.
    sequence_parallel
        Whether shards divide what lies between split products, too.
    precision
        Number format; None for what the model says.
    by
        What becomes a node.
    reserve
        Share of each device's memory that is kept free; None for what the cluster says.
    gap
        Relative gap to stop at.
    runners_up
        Choices beside the best one that are solved as well.
    """

    global_batch: int = Field(ge=1, le=MOST_SAMPLES)
    sequence: int | None = None
    max_microbatch: int = Field(default=8, ge=1)
    replicas: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    zero: tuple[int, ...] | None = None
    virtual_stages: tuple[Annotated[int, Field(ge=1, le=64)], ...] | None = None
    recompute: Recompute = Recompute.AUTO
    schedule: Schedule = Schedule.ONE_F_ONE_B
    communication: Communication = Communication.SEQUENTIAL
    optimizer: Optimizer = Optimizer.MIXED_ADAM
    sequence_parallel: bool = True
    precision: str | None = None
    by: str = "module"
    reserve: float | None = None
    gap: float = Field(default=0.01, ge=0, lt=1)
    runners_up: int = Field(default=12, ge=0)


@dataclass(frozen=True, order=True)
class Choice:
    """One way to use the devices.

    Parameters
    ----------
    microbatch
        Samples of a microbatch.
    replicas
        Copies of the pipeline, d; each takes its share of the microbatches.
    shards
        Devices that split each node, t.
    apart
        Whether the replicas of a stage are placed in different servers, so that stages are near each other;
        else the replicas of a stage are near each other.
    zero
        What replicas divide: nothing, optimizer state (1), or gradients as well (2).
    virtual_stages
        Virtual stages of each device, V; with several the pipeline goes round the devices.
    """

    microbatch: int
    replicas: int
    shards: int
    apart: bool = False
    zero: int = 0
    virtual_stages: int = 1

    @property
    def width(self) -> int:
        """Devices of a stage."""
        return self.replicas * self.shards

    def microbatches(self, global_batch: int) -> int:
        """Microbatches that pass each replica in a step."""
        return global_batch // (self.microbatch * self.replicas)

    @property
    def name(self) -> str:
        """Short name, such as ``b2-d4-t8-z1-v2``."""
        apart = "-apart" if self.apart else ""
        virtual = f"-v{self.virtual_stages}" if self.virtual_stages > 1 else ""
        return f"b{self.microbatch}-d{self.replicas}-t{self.shards}-z{self.zero}{virtual}{apart}"


def choices(
    request: TrainingRequest, devices: int, shards: Sequence[int], *, servers: bool
) -> tuple[list[Choice], list[str]]:
    """List the choices, and say what is left out.

    Parameters
    ----------
    request
        What is asked for.
    devices
        How many there are.
    shards
        Degrees that the model and the servers allow.
    servers
        Whether there are several.

    Returns
    -------
    choices, excluded
        What memory does not hold is among them: bounds sort it out.

    Raises
    ------
    UsageError
        When nothing is left.
    """
    if not devices:
        raise UsageError("there are no accelerators to train on")
    excluded: list[str] = []
    batch = request.global_batch
    degrees = _degrees(request, [t for t in shards if t <= devices])
    zero = ZERO if request.zero is None else tuple(sorted(set(request.zero)))
    if {0, 1} <= set(zero):  # the same traffic, less memory, a shorter update
        zero = tuple(z for z in zero if z)
        excluded.append("ZeRO 0, as ZeRO 1 takes less memory and is no slower")
    out = [choice for t in degrees for choice in _split_over(t, request, devices, zero, servers=servers)]
    if not out:
        raise UsageError(f"no number of replicas and microbatch size divide a global batch of {batch}")
    excluded.append("degrees that differ between stages, or divide neither the devices nor the global batch")
    if request.virtual_stages is None and _rounds(request, 2) == VIRTUAL:
        excluded.append(f"virtual stages other than {_listed(VIRTUAL)} (--virtual-stages)")
    excluded.append(f"microbatches of more than {request.max_microbatch} samples (--max-microbatch)")
    return out, excluded


def _split_over(
    t: int, request: TrainingRequest, devices: int, zero: Sequence[int], *, servers: bool
) -> Iterator[Choice]:
    """Yield the choices with one number of shards."""
    batch = request.global_batch
    copies = [d for d in range(1, devices // t + 1) if batch % d == 0 and (devices // t) % d == 0]
    if request.replicas is not None:
        copies = sorted(set(request.replicas))
        if copies[-1] * t > devices:
            raise UsageError(f"{copies[-1]} replicas of {t} shards are more than {devices} devices")
    for d in copies:
        groups = devices // (t * d)
        sides = (False, True) if servers and d > 1 else (False,)
        for b in range(1, request.max_microbatch + 1):
            if batch % (b * d):
                continue
            rounds = [v for v in _rounds(request, groups) if v == 1 or batch // (b * d) % groups == 0]
            yield from (
                Choice(b, d, t, far, z, v) for far in sides for z in (zero if d > 1 else (0,)) for v in rounds
            )


def _degrees(request: TrainingRequest, possible: Sequence[int]) -> list[int]:
    """Degrees of sharding that are asked for, or all that are possible."""
    if request.shards is None:
        return list(possible)
    impossible = sorted(set(request.shards) - set(possible))
    if impossible:
        raise UsageError(f"{_listed(impossible)} shards: the model and the servers allow {_listed(possible)}")
    return sorted(set(request.shards))


def _rounds(request: TrainingRequest, groups: int) -> tuple[int, ...]:
    """Virtual stages that so many groups of devices may have: the interleaved order is one of 1f1b."""
    able = request.schedule is Schedule.ONE_F_ONE_B and request.recompute is not Recompute.LAYERS
    asked = VIRTUAL if request.virtual_stages is None else tuple(sorted(set(request.virtual_stages)))
    return tuple(v for v in asked if v == 1 or (able and groups > 1))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
