"""What more memory, faster links and more speed of each class of devices would bring: the question again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from placer.errors import VerificationError
from placer.imports.catalogue import Cluster
from placer.instance.cluster import DeviceClass
from placer.plans.result import Status
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_check import violations
from placer.serving.serving_layout import to_plan
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import Limit, Resource, ServingResult
from placer.serving.serving_questions import Answer, ask
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import Clock

__all__ = ["limits"]

GIB = 2.0**30
NOTHING = 1e-6
"""Share of the value below which a gain is none."""


def limits(
    model: ServingModel,
    request: ServingRequest,
    value: float,
    seconds: float,
    interrupted: Callable[[], bool] = lambda: False,
) -> tuple[Limit, ...]:
    """Ask again with a GiB more on each device of a class, with links of twice the bandwidth, twice as fast.

    Parameters
    ----------
    model, request
        A language model, and what was asked; of instances nothing is said.
    value
        The proven answer.
    seconds
        For all questions together, in equal shares; those that are not answered to the end are left out.
    interrupted
        Asked whether to stop.

    Raises
    ------
    VerificationError
        When one of the answers does not hold: a defect of this software.
    """
    if not isinstance(model, ServedLanguageModel):
        return ()
    better = list(_better(model.cluster))
    found = []
    for resource, name, more, cluster in better:
        other = ServedLanguageModel(
            model.model, cluster, cache=request.cache, shards=request.shards, replicas=request.replicas
        )
        answer = ask(other, request, Clock(seconds / len(better), interrupted))
        if answer.value is None or answer.bound is None or not answer.finished:
            continue
        if abs(answer.bound - answer.value) > request.gap * answer.value * (1 + 1e-9) + 1e-12:
            continue
        _verify(other, request, answer)
        gain = (value - answer.value) if request.objective is Goal.TPOT else (answer.value - value)
        gain = gain if gain > NOTHING * value else 0.0
        found.append(
            Limit(
                resource=resource,
                device_class=name,
                more=more,
                value=answer.value,
                gain=gain,
                binding=gain > 0,
            )
        )
    return tuple(found)


def _verify(model: ServingModel, request: ServingRequest, answer: Answer) -> None:
    """Compute the answer again from its assignment alone."""
    if answer.setting is None or answer.value is None or answer.bound is None:
        return
    costs = model.costs(answer.setting)
    result = ServingResult(
        model=model.name,
        devices="",
        request=request,
        status=Status.OPTIMAL,
        value=answer.value,
        bound=answer.bound,
        gap=abs(answer.bound - answer.value) / max(answer.value, 1e-300),
        plan=to_plan(model, costs, answer.setting, answer.layout, request.concurrency),
    )
    if broken := violations(model, result):
        raise VerificationError(f"a plan with more of something does not hold: {broken[0]}")


def _better(cluster: Cluster) -> Iterator[tuple[Resource, str, str, Cluster]]:
    """Yield clusters in which a class has more of one thing."""
    for c, cls in enumerate(cluster.classes):
        if cls.memory_limit_bytes < float("inf"):
            limit = cls.memory_limit_bytes + GIB / (1 - cls.memory_reserve_share)
            yield (
                Resource.MEMORY,
                cls.name,
                "1 GiB more",
                _with(cluster, c, replace(cls, memory_limit_bytes=limit)),
            )
        if cls.link.bandwidth_bytes_per_s is not None:
            link = replace(cls.link, bandwidth_bytes_per_s=2 * cls.link.bandwidth_bytes_per_s)
            yield Resource.LINK, cls.name, "twice the bandwidth", _with(cluster, c, replace(cls, link=link))
    for name, entry in cluster.types.items():
        peaks = {precision: 2 * peak for precision, peak in entry.peak_tflops.items()}
        fast = entry.model_copy(
            update={"peak_tflops": peaks, "bandwidth_gb_per_s": 2 * entry.bandwidth_gb_per_s}
        )
        types = cluster.types | {name: fast}
        names = ", ".join(cls.name for cls in cluster.classes if cls.type == name)
        yield Resource.TIME, names, "twice the speed", cluster.model_copy(update={"types": types})


def _with(cluster: Cluster, c: int, cls: DeviceClass) -> Cluster:
    classes = (*cluster.classes[:c], cls, *cluster.classes[c + 1 :])
    return cluster.model_copy(update={"classes": classes})
