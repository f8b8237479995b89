"""Training plans against all choices, partitions and recomputations of small models, computed here."""

from itertools import combinations, product

import numpy as np
import pytest

from placer.imports.catalogue import find_cluster
from placer.imports.language_api import as_each_has_it
from placer.instance.origin import Source
from placer.language.configuration import language_model
from placer.plans.check import check
from placer.studies.training.choice_costs import Base, step_costs
from placer.studies.training.explore import plan_training
from placer.studies.training.groups import grouped
from placer.studies.training.trained_models import LanguageSource
from placer.studies.training.training_choices import Choice, TrainingRequest, choices
from tests.support.brute_virtual import Virtual

CONFIG = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 3000,
    "hidden_size": 256,
    "intermediate_size": 700,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CATALOGUE = """
[links.inside]
gb_per_s = 40
latency_ms = 0.002
source = "made up"
[links.outside]
gb_per_s = {uplink}
latency_ms = 0.01
source = "made up"
[devices.card]
memory_gib = {memory}
bandwidth_gb_per_s = 900
peak_tflops = {{ bf16 = 100 }}
link = "inside"
source = "made up"
[clusters.two]
classes = [{{ device = "card", count = 2 }}]
servers = {{ count = 2, uplink = "outside" }}
"""
"""Two servers with two devices each."""
INSIDE = 40e9, 0.002


def cluster_of(tmp_path, memory=0.1, uplink=4.0):
    path = tmp_path / "cluster.toml"
    path.write_text(CATALOGUE.format(memory=memory, uplink=uplink))
    return find_cluster(str(path))


def request_of(**changes):
    given = {
        "global_batch": 8,
        "sequence": 128,
        "max_microbatch": 2,
        "gap": 0.0,
        "runners_up": 10**6,
        "reserve": 0.0,
        "virtual_stages": (1,),
    }
    return TrainingRequest(**(given | changes))


def makespan(forward, backward, m):
    """Time of 1F1B, task by task in any order that the stages' own orders and the data allow."""
    stages = len(forward)
    orders = []
    for s in range(stages):
        ahead = min(stages - s, m)
        order = [("F", k) for k in range(ahead)]
        for k in range(m):
            order.append(("B", k))
            if ahead + k < m:
                order.append(("F", ahead + k))
        orders.append(order)
    end, at, free = {}, [0] * stages, [0.0] * stages
    while any(at[s] < len(orders[s]) for s in range(stages)):
        for s in range(stages):
            while at[s] < len(orders[s]):
                kind, k = orders[s][at[s]]
                before = s - 1 if kind == "F" else s + 1
                needs = (kind, before, k) if 0 <= before < stages else None
                if needs is not None and needs not in end:
                    break
                free[s] = max(free[s], end.get(needs, 0.0)) + (forward if kind == "F" else backward)[s]
                end[kind, s, k] = free[s]
                at[s] += 1
    return max(end.values())


def places(d, t, apart):
    """Server of the first replica of each stage, and whether the replicas of some stage are spread."""
    groups = 4 // (d * t)
    blocks = [0, 0, 1, 1] if t == 1 else [0, 1] if t == 2 else None
    if blocks is None:
        return None
    rows = [[blocks[r * groups + k] if apart else blocks[k * d + r] for r in range(d)] for k in range(groups)]
    if apart:
        for r in range(d):
            same = [rows[k][r] == rows[k + 1][r] for k in range(groups - 1)]
            if same != [rows[k][0] == rows[k + 1][0] for k in range(groups - 1)]:
                return None
    spread = any(len(set(row)) > 1 for row in rows)
    return [row[0] if apart or len(set(row)) == 1 else ("own", k) for k, row in enumerate(rows)], spread


def best_of(choice, request, cluster, uplink):
    """Least time of a step over all partitions of the layers, recomputations and orders of the groups."""
    b, d, t, apart, z = choice
    where = places(d, t, apart)
    if where is None or (8 % (b * d)):
        return np.inf
    where, spread = where
    model = language_model(CONFIG)
    asked = {"batch": b, "sequence": request.sequence, "sequence_parallel": request.sequence_parallel}
    how = {
        "source": Source("hf", "m"),
        "by": "module",
        "training": True,
        "optimizer": "mixed-adam",
        "reserve": 0.0,
    }
    alone = cluster.model_copy(update={"servers": ()})
    whole, _ = as_each_has_it(model, alone, 1, work=asked, **how)
    mine, sums = as_each_has_it(model, alone, t, work=asked, **how)
    ahead = [v for v in range(mine.n) if not mine.backward[v]]
    back = {v.removesuffix("/backward"): k for k, v in enumerate(mine.ids) if mine.backward[k]}
    bandwidth, latency = INSIDE
    sum_bandwidth, sum_latency = (
        (min(bandwidth, uplink * 1e9), 0.01) if spread and uplink * 1e9 < bandwidth else INSIDE
    )
    m, groups = 8 // (b * d), 4 // (d * t)

    def busy(v):
        if v is None:
            return 0.0
        extra = 2 * (t - 1) / t * sums[v] / bandwidth * 1e3 + (2 * (t - 1) * latency if sums[v] else 0.0)
        return mine.time_ms[v, 0] + extra

    room = cluster.classes[0].memory_limit_bytes - mine.classes[0].memory_reserve_bytes
    items = []
    for v in ahead:
        w = back.get(mine.ids[v])
        weights = mine.weight_bytes[v]
        scatter = 0.0
        if z == 2:
            scatter = (d - 1) / d * weights / sum_bandwidth * 1e3 + (
                (d - 1) * sum_latency if weights else 0.0
            )
        state = 6.0 / (d if z >= 1 else 1)
        gradients = 1.0 / (d if z >= 2 else 1)
        update = 14.0 * weights / (d if z >= 1 else 1) / (900e9 * 0.8) * 1e3
        ring = (1 if z == 2 else 2) * (d - 1) / d * weights / sum_bandwidth * 1e3
        items.append(
            {
                "f": busy(v),
                "b": busy(w) + scatter,
                "resident": mine.memory_bytes[v] + weights * (1 + state + gradients),
                "kept": mine.activation_bytes[v],
                "once": update + ring,
                "out": whole.output_bytes[v],
                "back_out": 0.0 if w is None else whole.output_bytes[w],
            }
        )
    once_latency = (1 if z == 2 else 2) * (d - 1) * sum_latency

    def hop(size, across):
        own = latency + 1e3 * size / (t * bandwidth)
        far = 0.01 + 1e3 * size / (t * uplink * 1e9)
        return max(own, far) if across else own

    best = np.inf
    n = len(items)
    for stages in range(1, min(groups, n) + 1):
        cuts_all = list(combinations(range(1, n), stages - 1))
        orders = {tuple(o) for o in product(range(groups), repeat=stages) if len(set(o)) == stages}
        servers = {tuple(where[k] for k in o) for o in orders}
        for cuts, again, servers_of in product(
            cuts_all, product((False, True), repeat=stages), sorted(servers, key=repr)
        ):
            ends = [0, *cuts, n]
            forward, backward, fits, after = [], [], True, 0.0
            for s in range(stages):
                part = items[ends[s] : ends[s + 1]]
                f, g = sum(x["f"] for x in part), sum(x["b"] for x in part)
                g += f if again[s] else 0.0
                flights, received = min(stages - s, m), 0.0
                if s:
                    size, far = items[ends[s] - 1]["out"], servers_of[s - 1] != servers_of[s]
                    received = size
                    f += hop(size, far)
                    g += hop(items[ends[s]]["back_out"], far)
                if s + 1 < stages:
                    far = servers_of[s] != servers_of[s + 1]
                    f += hop(items[ends[s + 1] - 1]["out"], far)
                    g += hop(items[ends[s + 1]]["back_out"], far)
                kept = sum(x["kept"] for x in part)
                held = kept + flights * received if again[s] else flights * kept
                fits &= sum(x["resident"] for x in part) + held <= room
                after = max(after, sum(x["once"] for x in part))
                forward.append(f)
                backward.append(g)
            if fits:
                best = min(best, makespan(forward, backward, m) + after + once_latency)
    return best


def row_key(row):
    return row.microbatch, row.replicas, row.shards, row.apart, row.zero


@pytest.mark.parametrize(
    ("memory", "uplink"), [(0.4, 4.0), (0.05, 0.5), (0.03, 100.0), (0.025, 4.0), (0.021, 8.0)]
)
def test_best_and_bounds_against_all_plans_of_all_choices(tmp_path, memory, uplink):
    cluster = cluster_of(tmp_path, memory, uplink)
    request = request_of(zero=(0, 2)) if memory == 0.05 else request_of()
    plan = plan_training(LanguageSource(language_model(CONFIG), cluster, request), cluster, request)
    zero = (0, 2) if memory == 0.05 else (1, 2)
    everything = {}
    for b, (d, t), apart, z in product((1, 2), product((1, 2, 4), (1, 2)), (False, True), (0, *zero)):
        if d * t > 4 or (d == 1 and (apart or z)) or (d > 1 and z not in zero):
            continue
        everything[b, d, t, apart, z] = best_of((b, d, t, apart, z), request, cluster, uplink)
    assert {row_key(row) for row in plan.tried} == set(everything)
    for row in plan.tried:
        least = everything[row_key(row)]
        if row.step_ms is None:
            assert row.bound_ms is None
            assert least == np.inf
        else:
            assert row.step_ms >= least * (1 - 1e-9)
            assert row.bound_ms <= least * (1 + 1e-9)
            assert row.step_ms - row.bound_ms <= 0.02 * row.step_ms + row.once_ms
    best = min(everything.values())
    assert plan.bound_ms <= best * (1 + 1e-9)
    assert best * (1 - 1e-9) <= plan.step_ms <= best * 1.02
    assert plan.simulated_ms == pytest.approx(plan.step_ms, rel=1e-9)
    instance, result = plan.best
    assert check(instance, result) == []


@pytest.mark.parametrize("memory", [0.4, 0.022])
def test_virtual_stages_against_all_plans(tmp_path, memory):
    cluster = cluster_of(tmp_path, memory)
    request = request_of(shards=(2,), replicas=(1,), virtual_stages=(1, 2, 4))
    source, made = LanguageSource(language_model(CONFIG), cluster, request), {}

    def keep(row, best):
        made[row.microbatch, row.virtual_stages] = row

    plan = plan_training(source, cluster, request, on_tried=keep)
    assert {row.note for row in plan.tried if row.virtual_stages == 4} == {"more virtual stages than nodes"}
    for b in (1, 2):
        row = made[b, 2]
        instance = choice_instance(source, cluster, request, row)
        least = Virtual(instance, 2, 8 // b, "sequential").shortest("auto")
        assert row.step_ms - row.once_ms == pytest.approx(least, rel=1e-9)
        assert row.bound_ms <= row.step_ms
        assert sum(row.nodes) == 6
        assert len(row.nodes) == 4
    assert plan.simulated_ms == pytest.approx(plan.step_ms, rel=1e-9)
    assert plan.step_ms == min(row.step_ms for row in made.values())


def choice_instance(source, cluster, request, row):
    choice = Choice(row.microbatch, row.replicas, row.shards, row.apart, row.zero, row.virtual_stages)
    base = Base(source.base(row.microbatch, 1)[0], *source.base(row.microbatch, row.shards))
    return step_costs(base, cluster, grouped(cluster, choice), choice, request).instance


def test_virtual_stages_are_tried_where_the_schedule_has_them():
    def rounds(**changes):
        request = request_of(virtual_stages=None, **changes)
        return {c.virtual_stages for c in choices(request, 4, [1, 2, 4], servers=False)[0]}

    assert rounds() == {1, 2, 4}
    assert rounds(schedule="gpipe") == rounds(recompute="layers") == {1}
    assert rounds(replicas=(4,), shards=(1,)) == {1}  # no pipeline
    few = choices(request_of(virtual_stages=(2,), global_batch=12), 4, [1], servers=False)[0]
    assert {(c.replicas, c.microbatch) for c in few} == {(1, 1), (2, 1)}


def test_single_layers_may_recompute(tmp_path):
    """The step is shorter than where whole stages do, and the table says on how many stages some do."""
    cluster = cluster_of(tmp_path, memory=0.05)
    steps = {}
    for recompute in ("auto", "layers"):
        only = {"replicas": (1,), "shards": (1,), "zero": (0,), "max_microbatch": 1}
        request = request_of(recompute=recompute, sequence=1024, **only)
        source = LanguageSource(language_model(CONFIG), cluster, request)
        plan = plan_training(source, cluster, request)
        instance, result = plan.best
        assert check(instance, result) == []
        (row,) = plan.tried
        steps[recompute] = row.step_ms, row.recompute
    holding = {result.assignment[v] for v in result.recomputed_nodes}
    assert len(holding) == steps["layers"][1] == 1
    assert steps["layers"][0] < 0.995 * steps["auto"][0]
