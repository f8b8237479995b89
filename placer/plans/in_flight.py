"""How many microbatches are in flight on a device, and with them how much memory a plan needs.

Between its forward and its backward pass a microbatch keeps its activations on every device it went
through.  Under ``gpipe`` all microbatches of an optimizer step are in flight on every device.  Under ``1f1b``
the stage that is s-th from the end of a pipeline has at most s of them in flight, and never more than there
are; with virtual stages it is as `placer.plans.interleaved` says.  A plan that is not a pipeline (not
contiguous, or contiguous only device by device) has no such order; all microbatches may be in flight.
Inference keeps one, and for the latency of a single sample activations are left out of account.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from placer.instance.instance import Instance
from placer.options import Options, Recompute, Schedule

__all__ = ["InFlight", "in_flight", "left_in_flight", "settled"]


@dataclass(frozen=True)
class InFlight:
    """Microbatches in flight on each device: ``most``, or ``by_stage`` at most one per stage to the end.

    With several ``virtual_stages`` on a device it depends on all of them.
    """

    most: int
    by_stage: bool = False
    virtual_stages: int = 1

    def at(self, stage: int) -> int:
        """Return how many are in flight on a stage, which is counted from the end (the last is 1)."""
        return min(stage, self.most) if self.by_stage else self.most


def in_flight(instance: Instance, options: Options) -> InFlight:
    """Say how many microbatches are in flight under the options."""
    if not options.pipelined:
        return InFlight(0)
    if not instance.is_training:
        return InFlight(1)
    most = options.microbatches or instance.training.microbatches
    pipelined = options.strictly_ordered and options.schedule is Schedule.ONE_F_ONE_B
    return InFlight(most, pipelined and most > 1, options.virtual_stages)


def left_in_flight(instance: Instance, options: Options) -> InFlight:
    """Say how many microbatches a method has to count on an instance that is `settled`."""
    return in_flight(instance, options) if instance.has_activations else InFlight(1)


def settled(instance: Instance, options: Options) -> Instance:
    """Return the instance with activations made resident where they do not depend on the plan.

    What is left of ``activation_bytes`` depends on the stage of a pipeline, or on what recomputes.  Then the
    instance carries the number of microbatches that the options ask for.
    """
    flights = in_flight(instance, options)
    if not instance.has_activations:
        return instance
    if flights.by_stage or options.recompute is not Recompute.NONE:
        return instance.replace(training=replace(instance.training, microbatches=flights.most))
    return instance.replace(
        memory_bytes=instance.memory_bytes + flights.most * instance.activation_bytes,
        activation_bytes=0.0 * instance.activation_bytes,
        shards=tuple(
            some.replace(
                memory_bytes=some.memory_bytes + flights.most * some.activation_bytes,
                activation_bytes=0.0 * some.activation_bytes,
            )
            for some in instance.shards
        ),
    )
