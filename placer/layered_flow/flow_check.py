"""Flows of given ranges by networkx, and what is wrong with a plan: no solver, no bound, no search."""

from __future__ import annotations

import math

import networkx as nx

from placer.layered_flow.flow_problem import FlowProblem, Ranges
from placer.layered_flow.flow_result import Flow, FlowResult
from placer.tolerances import BOUND_TOLERANCE, EQUAL

__all__ = ["SINK", "SOURCE", "largest_flow", "violations"]

SOURCE, SINK = "source", "sink"


def largest_flow(problem: FlowProblem, ranges: Ranges) -> tuple[float, list[Flow]]:
    """Return the largest flow through given ranges in tokens per second, and the flow on each link used."""
    graph, n = nx.DiGraph(), problem.n
    graph.add_nodes_from((SOURCE, SINK))
    starting: dict[int, list[int]] = {}
    for j, (first, _) in ranges.items():
        starting.setdefault(first, []).append(j)
    for i, (first, end) in ranges.items():
        graph.add_edge(("in", i), ("out", i), capacity=float(problem.rates[i][end - first - 1]))
        if first == 0:
            graph.add_edge(SOURCE, ("in", i), capacity=float(problem.links[n, i]))
        if end == problem.layers:
            graph.add_edge(("out", i), SINK, capacity=float(problem.links[i, n]))
        for j in starting.get(end, ()):
            if problem.links[i, j] > 0:
                graph.add_edge(("out", i), ("in", j), capacity=float(problem.links[i, j]))
    value, flow = nx.maximum_flow(graph, SOURCE, SINK, flow_func=nx.algorithms.flow.shortest_augmenting_path)
    names = {SOURCE: SOURCE, SINK: SINK} | {
        (side, i): problem.names[i] for i in ranges for side in ("in", "out")
    }
    flows = [
        Flow.model_validate({"from": names[a], "to": names[b], "tokens_per_s": amount})
        for a, ends in flow.items()
        for b, amount in ends.items()
        if amount > EQUAL * value and not (a != SOURCE and a[0] == "in")
    ]
    return float(value), flows


def violations(problem: FlowProblem, result: FlowResult) -> list[str]:
    """Return what does not hold in a result, each as one line: ranges, flows, and the tokens per second.

    The bound stays the claim of the search; only that it is not below the plan is checked.
    """
    index = {name: i for i, name in enumerate(problem.names)}
    found = [f"there is no device {name!r}" for name in result.ranges if name not in index]
    ranges = {index[name]: range_ for name, range_ in result.ranges.items() if name in index}
    for i, (first, end) in ranges.items():
        if not 0 <= first < end <= problem.layers:
            found.append(f"{problem.names[i]}: there are no layers [{first}, {end})")
        elif end - first > len(problem.rates[i]):
            held = f"holds at most {len(problem.rates[i])} layers, not {end - first}"
            found.append(f"{problem.names[i]}: {held}")
    if found or result.tokens_per_s is None:
        return found
    found = _wrong_flows(problem, result, index, ranges)
    best, _ = largest_flow(problem, ranges)
    if not math.isclose(best, result.tokens_per_s, rel_tol=BOUND_TOLERANCE):
        found.append(f"the ranges pass {best!r} tokens/s, not {result.tokens_per_s!r}")
    if result.bound is not None and result.bound < best * (1 - BOUND_TOLERANCE):
        found.append(f"the bound, {result.bound!r} tokens/s, is below what the ranges pass, {best!r}")
    return found


def _wrong_flows(
    problem: FlowProblem, result: FlowResult, index: dict[str, int], ranges: Ranges
) -> list[str]:
    """Check the flows on the links: ends that meet, capacities, conservation, the sum."""
    found, slack = [], BOUND_TOLERANCE * (result.tokens_per_s or 0.0)
    into, out = dict.fromkeys(ranges, 0.0), dict.fromkeys(ranges, 0.0)
    total = 0.0
    for flow in result.flows:
        a, b = index.get(flow.source, -1), index.get(flow.target, -1)
        name, amount = f"flow from {flow.source} to {flow.target}", flow.tokens_per_s
        wrong = [
            end
            for end, i, alone in ((flow.source, a, SOURCE), (flow.target, b, SINK))
            if i not in ranges and end != alone
        ]
        if wrong:
            found.append(f"{name}: {wrong[0]} holds no layers")
            continue
        if (0 if a < 0 else ranges[a][1]) != (problem.layers if b < 0 else ranges[b][0]):
            found.append(f"{name}: one does not start where the other ends")
        if amount > problem.links[a, b] + slack:
            found.append(f"{name}: {amount!r} tokens/s, the link carries {float(problem.links[a, b])!r}")
        if a < 0:
            total += amount
        else:
            out[a] += amount
        if b >= 0:
            into[b] += amount
    for i, (first, end) in ranges.items():
        if abs(into[i] - out[i]) > slack:
            found.append(f"{problem.names[i]}: {into[i]!r} tokens/s come in, {out[i]!r} go out")
        if into[i] > problem.rates[i][end - first - 1] + slack:
            passed = float(problem.rates[i][end - first - 1])
            found.append(f"{problem.names[i]}: {into[i]!r} tokens/s, with its layers it passes {passed!r}")
    if abs(total - (result.tokens_per_s or 0.0)) > slack:
        found.append(f"the flows from the source are {total!r} tokens/s, not {result.tokens_per_s!r}")
    return found
