"""What binds a plan, and what would help: said only after a plan was found that shows it.

The plans come from `placer.solving.sketches`, at once and always the same, and are verified like any other.
A rule binds when a plan without it is better than *anything* possible with it, by `WORTH_SAYING` at least:
it takes a proven bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from placer.errors import UsageError
from placer.instance.instance import Instance
from placer.methods import variants
from placer.methods.registry import load_method
from placer.objectives import OBJECTIVES
from placer.options import Objective, Options, Recompute
from placer.plans import infeasible
from placer.plans.figures import objective_of
from placer.plans.in_flight import settled
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.search.run import Run
from placer.solving import sketches
from placer.solving.request import make_options
from placer.units import milliseconds, percent

__all__ = ["hints", "remedies"]

WORTH_SAYING = 0.1
"""Share of the time that a rule has to cost."""
PROVEN = 1e-3
"""Gap up to which the idle are said to be of no use."""
LARGEST = 3000
"""Nodes up to which plans are sketched."""
MOST_PIECES = 64
TRIAL_S = 2.0
"""Work for each set of options that is tried, in nominal seconds."""


def hints(instance: Instance, options: Options, plan: Plan, bound_ms: float | None) -> list[str]:
    """Say what binds a plan: rules that cost much, devices that hold nothing.

    Parameters
    ----------
    instance
        The instance that was solved, ``settled``.
    options, plan
        What was asked, and the plan found.
    bound_ms
        Proven lower bound; without one, or where it is 0, nothing can be said to bind.

    Returns
    -------
    list of str
    """
    timed = OBJECTIVES[options.objective].is_time
    if not timed or not bound_ms or instance.n > LARGEST or violations(instance, plan, options):
        return []
    least = bound_ms * (1 - WORTH_SAYING)
    if not options.pipelined:
        found = _pieces(instance, options, bound_ms, least)
    else:
        found = _throughput(instance, options, plan, bound_ms, least)
    proven = bound_ms >= objective_of(instance, plan, options) * (1 - PROVEN)
    return found or (_idle(instance, options, plan) if proven else [])


def remedies(instance: Instance, options: Options) -> list[str]:
    """Say which options allow a plan where there is none."""
    if instance.n > LARGEST or not OBJECTIVES[options.objective].is_time:
        return []
    if not options.pipelined:
        held = _most_pieces(instance, options)
        return [] if held is None else [f"--pieces {_used(held[1])} allows a plan of {milliseconds(held[0])}"]
    found = [text for _, text in _ways(instance, options)]
    return found or _roomier(instance, options)


def _roomier(instance: Instance, options: Options) -> list[str]:
    """Name options with which a device holds less and a plan was found: one by itself, or else two."""
    if not options.strictly_ordered or options.virtual_stages > 1:
        return []
    again: list[dict[str, object]] = []
    if instance.is_training and options.recompute is Recompute.NONE:
        again = [{"recompute": Recompute.AUTO}]
    split: list[dict[str, object]] = []
    if options.shards in (1, (1,)):
        split = [{"shards": some.degree} for some in instance.shards]
    shared: list[dict[str, object]] = []
    if instance.is_training and options.zero == 0:
        shared = [{"replicas": max(2, options.replicas), "zero": zero} for zero in (1, 2)]
    for choices in ([again, split, shared], [[a | b for a in again for b in [*split, *shared]]]):
        texts = [next(filter(None, (_tried(instance, options, c) for c in some)), "") for some in choices]
        if any(texts):
            return [text for text in texts if text]
    return []


def _tried(instance: Instance, options: Options, changes: dict[str, object]) -> str:
    """Say of changed options that they allow a plan, and of how long; empty where none is found at once."""
    try:
        loose = make_options(options, **changes)  # type: ignore[arg-type]
        plain = {"method": "first-fit", "objective": Objective.THROUGHPUT, "samples": None}
        trial = loose.model_copy(update=plain)
        some = settled(instance, trial)
        if infeasible.simple_cause(some, trial) is not None:
            return ""
        method = load_method("first-fit", Objective.THROUGHPUT)
        plan = variants.solve(method, some, trial, Run(work_limit=TRIAL_S)).plan
    except UsageError:  # it does not go together with what else is asked for
        return ""
    held = None if plan is None else _best(instance, loose, [plan])
    if held is None:
        return ""
    said = " ".join(f"--{name} {value}" for name, value in changes.items())
    return f"{said} allows a plan of {milliseconds(held[0])}"


Held = tuple[float, Plan]
"""A plan that holds, and its objective in ms."""


def _best(instance: Instance, options: Options, plans: Iterable[Plan]) -> Held | None:
    """Return the best of the plans that hold."""
    held = [(objective_of(instance, p, options), p) for p in plans if not violations(instance, p, options)]
    return min(held, key=lambda h: h[0], default=None)


# -- latency --------------------------------------------------------------------------------------


def _most_pieces(instance: Instance, options: Options) -> Held | None:
    if options.pieces >= MOST_PIECES:
        return None
    return _best(instance, options.model_copy(update={"pieces": MOST_PIECES}), sketches.filled(instance))


def _used(plan: Plan) -> int:
    return 0 if plan.piece is None else int(plan.piece.max()) + 1


def _pieces(instance: Instance, options: Options, bound_ms: float, least: float) -> list[str]:
    held = _most_pieces(instance, options)
    if held is None or held[0] > least:
        return []
    return [
        f"the limit on pieces (--pieces {options.pieces}) costs {_cost(held[0], bound_ms)} of the time: "
        f"--pieces {_used(held[1])} allows a plan of {milliseconds(held[0])}"
    ]


# -- throughput -----------------------------------------------------------------------------------


def _ways(instance: Instance, options: Options) -> Iterator[tuple[float, str]]:
    """Yield objectives of plans that other options allow, and what to do for it."""
    if not options.strictly_ordered or options.teams:
        return
    apart = sketches.untied(instance)
    base = list(sketches.chopped(settled(instance if apart is None else apart, options)))
    if apart is not None:
        copied = _best(apart, options, base)
        if copied is not None:
            how = "imported with --tied copy" if instance.source is not None else "without these groups"
            yield copied[0], f"{how} there is a plan of {milliseconds(copied[0])}"
    free = options.model_copy(update={"contiguous": False})
    if options.recompute is Recompute.NONE and options.objective is Objective.THROUGHPUT:
        anywhere = [sketches.retied(instance, p, free) for p in base]
        held = _best(instance, free, [*anywhere, *sketches.packed(settled(instance, free))])
        if held is not None:
            yield held[0], f"--no-contiguous allows a plan of {milliseconds(held[0])}"
    if options.recompute is Recompute.NONE and instance.is_training and apart is None:
        again = options.model_copy(update={"recompute": Recompute.AUTO})
        held = _best(instance, again, map(_recomputing, base))
        if held is not None:
            yield held[0], f"--recompute auto allows a plan of {milliseconds(held[0])}"


def _recomputing(plan: Plan) -> Plan:
    return replace(plan, recompute=tuple(sorted(set(plan.device.tolist()))))


def _throughput(instance: Instance, options: Options, plan: Plan, bound_ms: float, least: float) -> list[str]:
    fastest = instance.class_time_ms.min(axis=1)
    if max(float(fastest.sum()) / len(instance.devices), float(fastest.max())) > least:
        return []  # whatever the rules, no plan is so much faster
    better = [(ms, text) for ms, text in _ways(instance, options) if ms <= least]
    if not better:
        return []
    what = _groups_said(instance)
    idle = _idle_devices(instance, plan)
    used = len(set(plan.device.tolist()))
    kept = "everything on one device" if used == 1 else f"{_listed(idle)} without nodes" if idle else ""
    rules = f"contiguity and {what}" if what else "contiguity"
    verb = ("cost" if what else "costs") if not kept else ("keep" if what else "keeps")
    cost = f"{_cost(min(ms for ms, _ in better), bound_ms)} of the time"
    said = f"{rules} {verb} {cost}" if not kept else f"{rules} {verb} {kept}, which costs {cost}"
    return [f"{said}: {', and '.join(text for _, text in better)}"]


def _groups_said(instance: Instance) -> str:
    """Name the groups that tie weights together; empty where there are none."""
    if sketches.untied(instance) is None:
        return ""
    forward = [[int(v) for v in nodes if not instance.backward[v]] for nodes in instance.groups.values()]
    largest = max(forward, key=len)
    busy = [v for v in largest if instance.time_ms[v].any()] or largest
    names = _listed([instance.names[v] for v in busy])
    if instance.source is not None:
        return f"tied weights ({names} stay together)"
    return f"colocation ({names} stay together)"


# -- devices that hold nothing --------------------------------------------------------------------


def _idle_devices(instance: Instance, plan: Plan) -> list[str]:
    used = plan.used
    return [d.name for d in instance.devices if not d.is_host and d.index not in used]


def _idle(instance: Instance, options: Options, plan: Plan) -> list[str]:
    """Say of accelerators that hold nothing, in a plan that is proven to be best, what they could do."""
    idle = _idle_devices(instance, plan)
    rules = instance.constraints
    limited = rules.use_devices or rules.max_devices is not None
    if not idle or limited or not instance.allowed.any(axis=0).all():
        return []
    holds, them = ("hold", "them") if len(idle) > 1 else ("holds", "it")
    said = f"{_listed(idle)} {holds} no nodes: a plan that uses {them}"
    if options.pipelined:
        spread = _all_used(instance, options, plan)
        if spread:
            return [f"{said} is as good ({spread}), and none is better"]
    return [f"{said} is proven to be no faster"]


def _all_used(instance: Instance, options: Options, plan: Plan) -> str:
    """Return the option that uses all accelerators at the same objective; empty where none was found."""
    if plan.teams or plan.recompute or plan.again:
        return ""
    found = sketches.spread(instance, plan, options)
    if found is None:
        return ""
    used = sorted(set(found.device.tolist()))
    asked = tuple(instance.devices[d].name for d in used)
    ruled = instance.replace(constraints=replace(instance.constraints, use_devices=asked))
    if violations(ruled, found, options):
        return ""
    names = dict.fromkeys(instance.classes[instance.devices[d].class_index].name for d in used)
    whole = sum(c.count for c in instance.classes if c.name in names) == len(used)
    return f"--use-devices {','.join(names if whole else asked)}"


def _cost(objective: float, bound_ms: float) -> str:
    return percent(1 - objective / bound_ms)


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
