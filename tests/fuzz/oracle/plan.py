"""One plan, rule by rule and sum by sum: what breaks, and its objective."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fuzz.oracle.model import ROUNDING, Model


@dataclass(frozen=True)
class Placed:
    """A plan in terms of a model's nodes and devices, as a result lists it.

    ``pieces`` (latency): nodes of each piece of an accelerator in execution order.
    """

    device: Sequence[int]
    stages: Sequence[int] | None = None
    recompute: Sequence[int] = ()
    replicas: Sequence[Sequence[int]] = ()
    pieces: dict[int, list[list[int]]] = field(default_factory=dict)


def judge_plan(model: Model, plan: Placed) -> tuple[list[str], float]:
    """Say in words what a plan breaks, and its objective in ms (nan where it has none)."""
    nodes = range(model.n)
    wrong = [
        f"{model.ids[v]} may not go there" for v in nodes if model.time[v, plan.device[v]] == float("inf")
    ]
    if wrong:
        return wrong, float("nan")
    for v, w in itertools.combinations(nodes, 2):
        if model.label[v] == model.label[w] and plan.device[v] != plan.device[w]:
            wrong.append(f"{model.ids[v]} and {model.ids[w]} belong together")
        if (v, w) in model.apart and plan.device[v] == plan.device[w]:
            wrong.append(f"{model.ids[v]} and {model.ids[w]} must be apart")
    taken = {*plan.device, *(d for group in plan.replicas for d in group)}
    if len(taken) > model.max_devices:
        wrong.append("too many devices")
    if model.use and taken != model.use:
        wrong.append("other devices than those to use")
    if model.latency:
        found, value = _latency(model, plan)
        return wrong + found, value
    wrong += _replicas(model, plan)
    if wrong:
        return wrong, float("nan")
    return _order_and_memory(model, plan), _throughput(model, plan)


def _replicas(model: Model, plan: Placed) -> list[str]:
    wrong, busy = [], set(plan.device)
    for group in plan.replicas:
        if len(group) > model.options.get("replicas", 1):
            wrong.append("too many replicas")
        if not all(model.alike(group[0], d) for d in group):
            wrong.append("replicas that are not alike")
        if group[0] not in busy or busy & set(group[1:]) or len(set(group)) < len(group):
            wrong.append("replicas that hold none or others")
        busy |= set(group)
    return wrong


def _order_and_memory(model: Model, plan: Placed) -> list[str]:
    used = sorted(set(plan.device))
    m = model.m if model.training else 1
    accelerators = {d for d in used if not model.host[d]}
    mode = model.options.get("recompute", "none")
    wrong = []
    if not set(plan.recompute) <= accelerators or (mode == "none" and plan.recompute):
        wrong.append("what recomputes must not")
    if mode == "all" and set(plan.recompute) != accelerators:
        wrong.append("not all recompute")
    if model.contiguity == "each":
        for u, w, v in itertools.permutations(range(model.n), 3):
            if model.descendants[u, w] and model.descendants[w, v]:
                out = plan.device[u] == plan.device[v] != plan.device[w]
                wrong += ["a path leaves a device and comes back"] * out
    if model.contiguity != "ordered":
        return wrong + _memory(model, plan, dict.fromkeys(used, m))
    orders = [plan.stages] if plan.stages is not None else itertools.permutations(used)
    reasons: list[list[str]] = []
    for order in orders:
        if sorted(order) != used:
            return [*wrong, "the stages are not the devices in use"]
        at = {d: s for s, d in enumerate(order)}
        found = ["data go backwards" for u, w in model.precedence if at[plan.device[u]] > at[plan.device[w]]]
        for a, b in itertools.permutations(order, 2):
            p, q = model.place[a], model.place[b]
            if p is not None and q is not None and p < q and at[a] > at[b]:
                found.append("the wanted order does not hold")
        flights = {d: min(len(order) - s, m) if model.schedule == "1f1b" else m for d, s in at.items()}
        found += _memory(model, plan, flights)
        if not found:
            return wrong
        reasons.append(found)
    return wrong + min(reasons, key=len)


def _memory(model: Model, plan: Placed, flights: dict[int, int]) -> list[str]:
    wrong = []
    for d, count in flights.items():
        mine = [v for v in range(model.n) if plan.device[v] == d]
        need = float(sum(model.static[v] for v in mine))
        kept = float(sum(model.activation[v] for v in mine))
        if d in plan.recompute:
            inputs = {u for u, w in model.forward_edges if plan.device[w] == d != plan.device[u]}
            need += kept + count * float(sum(x for x in (model.output[u] for u in inputs) if x == x))
        else:
            need += count * kept
        if model.room[d] * (1 + 1e-12) < need < model.room[d] * (1 + 5e-9):
            model.near_miss = True
        if need > model.room[d] * ROUNDING:
            wrong.append(f"{model.names[d]} holds {need} of {model.room[d]} bytes")
    return wrong


def _throughput(model: Model, plan: Placed) -> float:
    size = {group[0]: len(group) for group in plan.replicas}
    loads = []
    for d in set(plan.device):
        r = size.get(d, 1)
        compute, receive, send = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        for v in range(model.n):
            way = int(model.backward[v])
            at = {plan.device[w] for w in model.readers[v]}
            if plan.device[v] == d:
                compute[way] += model.time[v, d] / r
                compute[1] += model.sync_ms(v, d, r)
                out = at - {d}
                if out:
                    far = any(model.server[b] != model.server[d] for b in out)
                    send[way] += (model.far if far else model.near)[v, d] / r
            elif d in at:
                far = model.server[plan.device[v]] != model.server[d]
                receive[way] += (model.far if far else model.near)[v, d] / r
        if d in plan.recompute:
            compute[1] += compute[0]
        loads.append([_together(model, *parts) for parts in zip(compute, receive, send, strict=True)])
    if model.schedule == "gpipe":
        return float(max(f for f, _ in loads) + max(b for _, b in loads))
    return float(max(f + b for f, b in loads))


def _together(model: Model, compute: float, receive: float, send: float) -> float:
    way = model.options.get("communication", "sequential")
    if way == "sequential":
        return compute + receive + send
    return max(compute, receive + send) if way == "overlap" else max(compute, receive, send)


def _latency(model: Model, plan: Placed) -> tuple[list[str], float]:
    """Run one sample: a piece starts when its inputs are there and the piece before it is done."""
    wrong = []
    for d, pieces in plan.pieces.items():
        if len(pieces) > model.options.get("pieces", 1):
            wrong.append(f"too many pieces on {model.names[d]}")
    listed = [v for pieces in plan.pieces.values() for piece in pieces for v in piece]
    expected = [v for v in range(model.n) if not model.host[plan.device[v]]]
    off = any(plan.device[v] != d for d, pieces in plan.pieces.items() for piece in pieces for v in piece)
    if sorted(listed) != expected or off:
        return [*wrong, "the pieces are not the nodes of the accelerators"], float("nan")
    for d in set(plan.device):
        need = float(sum(model.static[v] for v in range(model.n) if plan.device[v] == d))
        if model.room[d] * (1 + 1e-12) < need < model.room[d] * (1 + 5e-9):
            model.near_miss = True
        if need > model.room[d] * ROUNDING:
            wrong.append(f"{model.names[d]} holds {need} of {model.room[d]} bytes")
    waiting = {d: list(pieces) for d, pieces in plan.pieces.items()}
    hosted = [v for v in range(model.n) if model.host[plan.device[v]]]
    free = dict.fromkeys(waiting, 0.0)
    there: dict[int, float] = {}
    while hosted or any(waiting.values()):
        units = [(None, [v]) for v in hosted] + [(d, p[0]) for d, p in waiting.items() if p]
        sources = [{u for u, w in model.edges if w in nodes and u not in nodes} for _, nodes in units]
        ready = [k for k, some in enumerate(sources) if some <= there.keys()]
        if not ready:
            return [*wrong, "pieces wait for each other"], float("nan")
        (d, nodes), needed = units[ready[0]], sources[ready[0]]
        begin = max((there[u] for u in needed), default=0.0)
        if d is None:
            hosted.remove(nodes[0])
            there[nodes[0]] = begin + model.time[nodes[0], plan.device[nodes[0]]]
            continue
        waiting[d].pop(0)
        sent = {u for u, w in model.edges if u in nodes and w not in nodes}
        end = max(begin, free[d]) + sum(model.near[u, d] for u in needed)
        end += sum(model.time[v, d] for v in nodes) + sum(model.near[u, d] for u in sent)
        free[d] = end
        there |= dict.fromkeys(nodes, end)
    return wrong, float(max(there.values()))
