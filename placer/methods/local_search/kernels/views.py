"""The arrays of the local search as the kernels see them: typed views."""

from __future__ import annotations

from placer.kernels import fixed, view
from placer.methods.local_search.kernels import arrays
from placer.methods.local_search.kernels.arrays import State, Static

# How computing and transfers add up, see `arrays`.
SEQUENTIAL, OVERLAP, DUPLEX = arrays.SEQUENTIAL, arrays.OVERLAP, arrays.DUPLEX
EPSILON = arrays.EPSILON


class StaticView:
    """See `Static`."""

    def __init__(self, static: Static) -> None:
        self.time = fixed(static.time)
        self.memory = fixed(static.memory)
        self.allowed = fixed(static.allowed)
        self.class_of = fixed(static.class_of)
        self.limit = fixed(static.limit)
        self.net_start = fixed(static.net_start)
        self.net_items = fixed(static.net_items)
        self.net_cost = fixed(static.net_cost)
        self.net_way = fixed(static.net_way)
        self.item_start = fixed(static.item_start)
        self.item_nets = fixed(static.item_nets)
        self.before_start = fixed(static.before_start)
        self.before = fixed(static.before)
        self.after_start = fixed(static.after_start)
        self.after = fixed(static.after)
        self.communication = static.communication
        self.gpipe = static.gpipe


class StateView:
    """See `State`."""

    def __init__(self, state: State) -> None:
        self.device = view(state.device)
        self.position = view(state.position)
        self.held = view(state.held)
        self.compute = view(state.compute)
        self.receive = view(state.receive)
        self.send = view(state.send)
        self.used = view(state.used)
        self.load = view(state.load)
        self.top = view(state.top)
        self.parts = view(state.parts)
        self.verdict = view(state.verdict)
        self.best = view(state.best)
        self.hot = view(state.hot)
