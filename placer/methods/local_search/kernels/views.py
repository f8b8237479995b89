"""The arrays of the local search as the kernels see them: typed views."""

from __future__ import annotations

from placer.kernels import bind, fixed, view
from placer.methods.local_search.kernels import arrays
from placer.methods.local_search.kernels.arrays import State, Static

# How computing and transfers add up, see `arrays`.
SEQUENTIAL, OVERLAP, DUPLEX = arrays.SEQUENTIAL, arrays.OVERLAP, arrays.DUPLEX
EPSILON = arrays.EPSILON


class StaticView:
    """See `Static`."""

    def __init__(self, static: Static) -> None:
        bind(self, static, fixed)


class StateView:
    """See `State`."""

    def __init__(self, state: State) -> None:
        bind(self, state, view)
