"""A replay of one optimizer step of a training pipeline, operation by operation, that watches the memory.

Shares no code with placer: it knows the result document and the numbers of the instance, nothing else.
"""

from placer.instance.instance import Instance
from placer.plans.result import Result

Operation = tuple[str, int]
"""("forward" | "backward", microbatch)."""


def operations(schedule: str, stages_behind: int, microbatches: int) -> list[Operation]:
    """What a stage does in which order: GPipe, or 1F1B with a warm-up of one per stage behind it."""
    ahead = microbatches if schedule == "gpipe" else min(stages_behind, microbatches)
    out: list[Operation] = [("forward", i) for i in range(ahead)]
    for i in range(microbatches):
        if ahead + i < microbatches:
            out.append(("forward", ahead + i))
        out.append(("backward", i))
    return out


def peaks(instance: Instance, result: Result) -> dict[str, float]:
    """Peak memory of every device with nodes, in bytes."""
    stages, m = result.stages, result.options.microbatches or instance.training.microbatches
    per_weight = {"none": 1, "sgd": 2, "momentum": 3, "adam": 4, "mixed-adam": 8}[
        instance.training.optimizer.value
    ]
    nodes = {d: [v for v, x in enumerate(instance.ids) if result.assignment[x] == d] for d in stages}
    held, peak, activation, dropped, kept = {}, {}, {}, {}, {}
    for d in stages:
        static = sum(instance.memory_bytes[v] + per_weight * instance.weight_bytes[v] for v in nodes[d])
        held[d] = peak[d] = static
        recomputed = {
            v for v in nodes[d] if d in result.recompute or instance.ids[v] in result.recomputed_nodes
        }
        activation[d] = sum(instance.activation_bytes[v] for v in nodes[d])
        dropped[d] = sum(instance.activation_bytes[v] for v in recomputed)
        producers = {
            u
            for u, w in instance.edges.tolist()
            if w in recomputed
            and u not in recomputed
            and not instance.backward[u]
            and not instance.backward[w]
        }
        received = sum(instance.output_bytes[u] for u in producers)
        kept[d] = activation[d] - dropped[d] + received
    todo = {d: operations(result.options.schedule, len(stages) - 1 - s, m) for s, d in enumerate(stages)}
    done: set[tuple[str, str, int]] = set()
    while any(todo.values()):
        for s, d in enumerate(stages):
            if not todo[d]:
                continue
            what, i = todo[d][0]
            first = s == 0 if what == "forward" else s == len(stages) - 1
            source = stages[s - 1] if what == "forward" else stages[(s + 1) % len(stages)]
            if not first and (source, what, i) not in done:
                continue
            # While a pass runs, all activations of its microbatch are there, whether they are kept or not.
            if what == "forward":
                held[d] += kept[d]
                peak[d] = max(peak[d], held[d] + dropped[d])
            else:
                peak[d] = max(peak[d], held[d] + dropped[d])
                held[d] -= kept[d]
            todo[d].pop(0)
            done.add((d, what, i))
    return peak
