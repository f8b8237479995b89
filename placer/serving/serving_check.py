"""Checking an answer of ``placer serve``: every figure again from the model and the assignment alone.

The bound is a claim of the search: it is checked for consistency only.  No cost and no formula is shared with
the searches (`placer.serving.recomputed_costs`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from placer.plans.result import Status
from placer.serving.recomputed_costs import Device, Recomputed, recomputed
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import ServingPlan, ServingResult
from placer.serving.serving_request import Goal, ServingRequest
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["plan_violations", "violations"]


def violations(model: ServingModel, result: ServingResult) -> list[str]:
    """List everything in an answer that does not hold, in words; an empty list means that it holds.

    Parameters
    ----------
    model
        What is served, and the devices.
    result
        The answer.
    """
    found = list(_claims(result))
    plan = result.plan
    if plan is None:
        return found
    return found + plan_violations(model, plan, result.request)


def plan_violations(model: ServingModel, plan: ServingPlan, request: ServingRequest) -> list[str]:
    """List everything in a plan that does not hold, as `violations` does."""
    if min(plan.batch, plan.microbatches) < 1:
        return [f"there are no {plan.microbatches} x {plan.batch} sequences"]
    costs = recomputed(model, plan.batch, plan.context, plan.prompt)
    broken = list(_support(model, plan, costs))
    if broken:
        return broken
    check = _Check(model, plan, request, costs)
    return [*check.rules(), *check.stage_figures(), *check.ways(), *check.totals()]


def _claims(result: ServingResult) -> Iterator[str]:
    """Status, value, bound and gap have to fit each other, the plan and the request."""
    plan, request, value = result.plan, result.request, result.value
    if (plan is None) != (value is None) or (plan is None) != (
        result.status in (Status.INFEASIBLE, Status.UNKNOWN)
    ):
        yield f"status {result.status} and value {value} do not fit {'no' if plan is None else 'a'} plan"
        return
    if plan is None or value is None:
        return
    most = request.objective is not Goal.TPOT
    own = {
        Goal.THROUGHPUT: plan.tokens_per_s,
        Goal.TPOT: plan.tpot_ms,
        Goal.CONCURRENCY: plan.concurrency,
        Goal.CONTEXT: plan.context,
    }[request.objective]
    if own is None or not _same(value, own):
        yield f"the value is {value!r}, that of the plan is {own!r}"
    gap = None
    if result.bound is not None:
        gap = abs(result.bound - value) / max(value, 1e-300)
        if (result.bound - value) * (1 if most else -1) < -EQUAL * abs(value):
            yield f"the bound {result.bound!r} is worse than the value {value!r}"
    if (gap is None) != (result.gap is None) or (
        gap is not None and not math.isclose(gap, result.gap or 0.0, rel_tol=EQUAL, abs_tol=EQUAL)
    ):
        yield f"the gap is {result.gap}, of value and bound it is {gap}"
    proven = gap is not None and gap <= request.gap * (1 + EQUAL) + EQUAL
    if result.status is Status.OPTIMAL and not proven:
        yield f"status {result.status} does not fit the gap {gap}"
    last = (0.0, 0.0)
    for k, point in enumerate(result.front):
        slots = point.batch * point.microbatches
        if point.concurrency != slots or not _same(point.tokens_per_s * point.tpot_ms, 1e3 * slots):
            yield f"front[{k}]: {point.tokens_per_s!r} tokens/s are not those of {slots} sequences"
        if point.tpot_ms < last[0] or point.tokens_per_s <= last[1]:
            yield f"front[{k}]: another point beats it"
        last = point.tpot_ms, point.tokens_per_s


def _support(model: ServingModel, plan: ServingPlan, costs: Recomputed) -> Iterator[str]:
    """Every node lies on one stage, and every device is known and in one stage."""
    place = {name: v for v, name in enumerate(model.ids)}
    held = [node for stage in plan.stages for node in stage.nodes]
    for node in dict.fromkeys(held):
        if node not in place:
            yield f"the model has no node {node!r}"
        elif held.count(node) > 1:
            yield f"node {node!r} lies on {held.count(node)} stages"
    yield from (f"node {node!r} lies nowhere" for node in model.ids if node not in set(held))
    names = [name for stage in plan.stages for name in stage.devices]
    for name in dict.fromkeys(names):
        if name not in costs.devices:
            yield f"there is no device {name!r} for these nodes"
        elif names.count(name) > 1:
            yield f"{name} is named {names.count(name)} times"
    for s, stage in enumerate(plan.stages):
        if not stage.devices:
            yield f"stages[{s}] has no device"
        elif min(stage.shards, stage.replicas) < 1 or len(stage.devices) != stage.shards * stage.replicas:
            split = f"{stage.shards} shards and {stage.replicas} replicas"
            yield f"{stage.devices[0]}: {split} are not {len(stage.devices)} devices"
        elif not stage.nodes:
            yield f"{stage.devices[0]}: a rank without layers"
        elif [place.get(v, -1) for v in stage.nodes] != sorted(place.get(v, -1) for v in stage.nodes):
            yield f"{stage.devices[0]}: its nodes are not in the order of the model"


@dataclass(eq=False)
class _Check:
    """One plan, whose nodes and devices are known."""

    model: ServingModel
    plan: ServingPlan
    request: ServingRequest
    costs: Recomputed
    nodes: list[list[int]] = field(init=False)
    """Nodes of each stage, by their place in the model."""
    where: list[int] = field(init=False)
    """Stage of each node."""
    runs: list[tuple[int, int, int]] = field(init=False)
    """Stage, first node and node after the last of each stretch on one stage."""

    def __post_init__(self) -> None:
        place = {name: v for v, name in enumerate(self.model.ids)}
        self.nodes = [[place[name] for name in stage.nodes] for stage in self.plan.stages]
        self.where = [0] * len(place)
        for s, nodes in enumerate(self.nodes):
            for v in nodes:
                self.where[v] = s
        self.runs = []
        for s, some in groupby(range(len(self.where)), key=self.where.__getitem__):
            stretch = list(some)
            self.runs.append((s, stretch[0], stretch[-1] + 1))

    def device(self, s: int) -> Device:
        """Return the first device of a stage."""
        return self.costs.devices[self.plan.stages[s].devices[0]]

    # -- rules ----------------------------------------------------------------------------------

    def rules(self) -> Iterator[str]:
        """Which devices may act together, what may lie where, and the limits asked for."""
        request = self.request
        for s, stage in enumerate(self.plan.stages):
            first, name = self.device(s), stage.devices[0]
            some = [self.costs.devices[other] for other in stage.devices]
            if any(
                (d.cls, d.room_bytes, d.server) != (first.cls, first.room_bytes, first.server) for d in some
            ):
                yield f"{', '.join(stage.devices)} act as one and are not alike"
            if stage.host != first.cls.is_host or stage.device_class != first.cls.name:
                yield f"{name} is of class {first.cls.name}, not {stage.device_class}"
            if stage.shards not in (1, *request.shards) or stage.replicas not in (1, *request.replicas):
                yield f"{name}: {stage.shards} shards and {stage.replicas} replicas were not allowed"
            if first.cls.is_host and len(some) > 1:
                yield f"{', '.join(stage.devices)}: hosts do not act as one"
            for v in self.nodes[s]:
                if self.costs.time_ms(v, first, stage.shards) == math.inf:
                    yield f"{name} may not run node {self.model.ids[v]!r}"
        if not request.scattered:
            yield from self._intervals()
        yield from self._limits()

    def _intervals(self) -> Iterator[str]:
        """Accelerators have an interval each, hosts left out, that begins between layers."""
        seen: list[int] = []
        for s, v, _ in self.runs:
            if self.device(s).cls.is_host or (seen and seen[-1] == s):
                continue
            name = self.plan.stages[s].devices[0]
            if s in seen:
                yield f"{name}: another accelerator has nodes between those that it holds"
            elif v > 0 and not self.model.cuts[v]:
                yield f"{name} begins within layer {self.model.layer_of[v]}, at {self.model.ids[v]!r}"
            seen.append(s)

    def _limits(self) -> Iterator[str]:
        plan, request = self.plan, self.request
        slots = plan.batch * plan.microbatches
        if plan.batch > 1 and not self.model.batches:
            yield f"a batch of {plan.batch}: costs of one sample are known alone"
        for what, value, limit in (
            ("time per token", plan.tpot_ms, request.max_tpot_ms),
            ("time to the first token", plan.ttft_ms, request.max_ttft_ms),
        ):
            if limit is not None and (value is None or value > limit * (1 + EQUAL)):
                yield f"{what}: {value} ms is above the limit of {limit:g} ms"
        asked = request.concurrency
        if request.objective is Goal.THROUGHPUT:
            if asked is not None and slots > asked:
                yield f"{slots} sequences are more than the {asked} asked for"
        elif request.objective is not Goal.CONCURRENCY and slots < (asked or 1):
            yield f"{slots} sequences are fewer than the {asked or 1} asked for"
        if plan.concurrency != (slots if asked is None else min(asked, slots)):
            sizes = f"{plan.microbatches} x {plan.batch} sequences"
            yield f"concurrency {plan.concurrency} is not that of {sizes}"
        if request.context is not None and plan.context != request.context:
            yield f"the context is {plan.context} tokens, not {request.context}"
        if plan.prompt is not None and plan.prompt != (request.prompt or plan.context):
            yield f"the prompt is {plan.prompt} tokens, not {request.prompt or plan.context}"

    # -- figures --------------------------------------------------------------------------------

    def loads(self, s: int) -> tuple[float, float, float, float | None]:
        """Compute a stage's times to compute, receive and send, and of a prompt."""
        made = [self._run(r) for r, run in enumerate(self.runs) if run[0] == s]
        compute = math.fsum(part[0] for part in made)
        receive = math.fsum(part[1] for part in made)
        send = math.fsum(part[2] for part in made)
        prompts = [part[3] for part in made]
        known = [p for p in prompts if p is not None]
        return compute, receive, send, math.fsum(known) if len(known) == len(prompts) else None

    def _run(self, r: int) -> tuple[float, float, float, float | None]:
        """Compute the times of a stretch: to compute, receive and send, and of a prompt."""
        s, first, end = self.runs[r]
        device, shards = self.device(s), self.plan.stages[s].shards
        compute = math.fsum(self.costs.time_ms(v, device, shards) for v in range(first, end))
        prompts = [self.costs.prompt_ms(v, device, shards) for v in range(first, end)]
        known = [p for p in prompts if p is not None]
        moves, slow = [0.0, 0.0], [0.0, 0.0]
        for side, other, v in ((0, r - 1, first - 1), (1, r + 1, end - 1)):
            if 0 <= other < len(self.runs):
                far = self.device(self.runs[other][0])
                moves[side] = self.costs.move_ms(v, device, far, shards)
                if known:
                    slow[side] = self.costs.move_ms(v, device, far, shards, prompt=True)
        prompt = math.fsum([*known, *slow]) if len(known) == len(prompts) else None
        return compute, moves[0], moves[1], prompt

    def stage_figures(self) -> Iterator[str]:
        """Compare loads and memory of each stage."""
        for s, stage in enumerate(self.plan.stages):
            compute, receive, send, prompt = self.loads(s)
            weights, cache = self.held(s)
            room = self.device(s).room_bytes
            limited = room < math.inf
            numbers = [k for v in self.nodes[s] if (k := self.model.layer_of[v]) is not None]
            layers = (min(numbers), max(numbers) + 1) if numbers else None
            name = stage.devices[0]
            if stage.layers != layers:
                yield f"{name}: layers {stage.layers}, its nodes are of {layers}"
            yield from _differences(
                name,
                (
                    ("compute_ms", stage.compute_ms, compute, compute),
                    ("receive_ms", stage.receive_ms, receive, receive),
                    ("send_ms", stage.send_ms, send, send),
                    ("load_ms", stage.load_ms, compute + receive + send, compute),
                    ("prefill_ms", stage.prefill_ms, prompt, prompt or 0.0),
                    ("weight_bytes", stage.weight_bytes, weights, weights),
                    ("cache_bytes", stage.cache_bytes, cache, cache),
                    ("room_bytes", stage.room_bytes, room if limited else None, room),
                    ("free_bytes", stage.free_bytes, room - weights - cache if limited else None, room),
                ),
            )
            if stage.reserve_bytes is not None:
                whole = self.device(s).cls.memory_limit_bytes
                reserve = whole - room if limited else None
                kept = ("reserve_bytes", stage.reserve_bytes, reserve, whole)
                yield from _differences(name, (kept,))
            if weights + cache > room * (1 + MEMORY_TOLERANCE):
                yield f"{name} holds {weights + cache:.0f} bytes, more than its room of {room:.0f}"

    def held(self, s: int) -> tuple[float, float]:
        """Compute weights and cache on each device of a stage."""
        stage, nodes = self.plan.stages[s], self.nodes[s]
        weights = math.fsum(self.costs.weight_bytes(v, stage.shards) for v in nodes)
        if len(self.where) > 1 and nodes[0] == 0 and nodes[-1] == len(self.where) - 1:
            weights -= self.costs.tied_bytes() / stage.shards
        turns = math.ceil(self.plan.microbatches / stage.replicas)
        return weights, turns * math.fsum(self.costs.cache_bytes(v, stage.shards) for v in nodes)

    def ways(self) -> Iterator[str]:
        """Compare the stretches that a token passes."""
        if [(visit.stage, *visit.nodes) for visit in self.plan.visits] != self.runs:
            yield "the visits are not the stretches of nodes on the stages"
            return
        for r, visit in enumerate(self.plan.visits):
            compute, receive, send, prompt = self._run(r)
            yield from _differences(
                f"visits[{r}]",
                (
                    ("compute_ms", visit.compute_ms, compute, compute),
                    ("receive_ms", visit.receive_ms, receive, receive),
                    ("send_ms", visit.send_ms, send, send),
                    ("prefill_ms", visit.prefill_ms, prompt, prompt or 0.0),
                ),
            )

    def totals(self) -> Iterator[str]:
        """Compare times per token and to the first one, tokens per second, room, what is left out."""
        plan, stages = self.plan, range(len(self.plan.stages))
        slots = plan.batch * plan.microbatches
        sums = [self.loads(s) for s in stages]
        loads = [compute + receive + send for compute, receive, send, _ in sums]
        back = self._back()
        slowest = max(load / plan.stages[s].replicas for s, load in enumerate(loads))
        tpot = max(math.fsum([*loads, back]), plan.microbatches * slowest)
        prompts = [parts[3] for parts in sums]
        known = [p for p in prompts if p is not None]
        ttft = math.fsum(known) if len(known) == len(prompts) else None
        rooms = [self._room(s) for s in stages]
        room = min((r for r in rooms if r is not None), default=None)
        largest = max(
            (d.room_bytes for d in self.costs.devices.values() if d.room_bytes < math.inf), default=0
        )
        yield from _differences(
            "the plan",
            (
                ("return_ms", plan.return_ms, back, back),
                ("tpot_ms", plan.tpot_ms, tpot, tpot),
                ("tokens_per_s", plan.tokens_per_s, 1e3 * slots / tpot if tpot else math.inf, 0.0),
                ("ttft_ms", plan.ttft_ms, ttft, ttft or 0.0),
                ("room_per_layer_bytes", plan.room_per_layer_bytes, room, largest),
            ),
        )
        used = {name for stage in plan.stages for name in stage.devices}
        if sorted(plan.unused) != sorted(set(self.costs.devices) - used):
            yield f"unused: {', '.join(plan.unused) or 'none'}, and other devices hold nothing"

    def _back(self) -> float:
        """Compute the time in which a token comes back to the first stage."""
        a, b, v = self.where[-1], self.where[0], len(self.where) - 1
        if a == b:
            return 0.0
        ends = ((a, b), (b, a))
        return math.fsum(
            self.costs.move_ms(v, self.device(s), self.device(t), self.plan.stages[s].shards) for s, t in ends
        )

    def _room(self, s: int) -> float | None:
        """Compute the free room per layer of a stage."""
        layers = math.fsum(float(self.model.counted[v]) for v in self.nodes[s])
        room = self.device(s).room_bytes
        return (room - math.fsum(self.held(s))) / layers if layers > 0 and room < math.inf else None


def _differences(
    place: str, figures: Sequence[tuple[str, float | None, float | None, float]]
) -> Iterator[str]:
    """Compare figures: name, as written, as computed here, and to what rounding is relative."""
    for name, written, own, scale in figures:
        if (written is None) != (own is None):
            yield f"{place}: {name} is {written}, recomputed {own}"
        elif written is not None and own is not None and not _same(written, own, scale):
            yield f"{place}: {name} is {written!r}, recomputed {own!r}"


def _same(written: float, own: float, scale: float = 0.0) -> bool:
    slack = EQUAL * scale if scale < math.inf else 0.0
    return math.isclose(written, own, rel_tol=EQUAL, abs_tol=slack)
