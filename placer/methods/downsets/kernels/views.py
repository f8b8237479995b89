"""The arrays as the kernels see them: typed views, and where the threshold search stands."""

from __future__ import annotations

from placer.kernels import bind, fixed, view
from placer.methods.downsets.kernels import arrays
from placer.methods.downsets.kernels.arrays import Chain, Graph, Measures, Scratch, Space

# Where an item is: in the piece, left to later devices, or in the downset already.
UNDECIDED, TAKEN, EXCLUDED, BEFORE = 0, 1, 2, 3

# Why the search returned, see `arrays`.
FOUND, LEVEL, STEPS, FULL = arrays.FOUND, arrays.LEVEL, arrays.STEPS, arrays.FULL

INFINITY = float("inf")
ONE, FULL_WORD = 1, 0xFFFFFFFFFFFFFFFF

# Places in an accumulator row; then come three blocks of K: measured work of the piece, of what it may
# still reach, and charges for the boundary of the downset.
MEMORY, FIXED, OPEN, BLOCKS = 2, 3, 7, 11


class GraphView:
    """The items, read only."""

    def __init__(self, graph: Graph) -> None:
        bind(self, graph, fixed)
        self.types = len(graph.devices)


class MeasuresView:
    """The measures of work, read only."""

    def __init__(self, measures: Measures) -> None:
        bind(self, measures, fixed)
        self.kinds = len(measures.kind)


class SpaceView:
    """States and scratch, changed in place."""

    def __init__(self, space: Space) -> None:
        bind(self, space, view)


class Control:
    """Where the search stands, ready to be resumed."""

    def __init__(self) -> None:
        self.phase = 0
        self.state = 0
        self.type = 0
        self.depth = 0
        self.listed = 0
        self.trail = 0
        self.states = 0
        self.pool = 0
        self.level_end = 0
        self.stamp = 0
        self.truncated = 0
        self.count = 0
        self.goal_state = 0
        self.goal_type = 0
        self.piece_count = 0
        self.available = 0
        self.read = 0
        self.low = self.length = self.offset = 0
        self.key = self.key_low = self.key_length = self.end = 0


class ChainView:
    """See `Chain`."""

    def __init__(self, chain: Chain) -> None:
        bind(self, chain, fixed)


class ScratchView:
    """See `Scratch`."""

    def __init__(self, scratch: Scratch) -> None:
        bind(self, scratch, view)


class Server:
    """The server under way.

    Parameters
    ----------
    kind
        Kind of server.
    mixes
        How many mixes its kind has.
    begin, end
        What it holds.
    known
        Position up to which ``ScratchView.reach`` holds already, ``begin`` for none.
    near
        Whether only the items next to it are known to be in other servers.
    earlier
        Stages nearer to the end of the pipeline.
    room
        Work in ms that this server and those after it can do within the limits.
    """

    def __init__(
        self, kind: int, mixes: int, begin: int, end: int, near: bool, earlier: int, room: float
    ) -> None:
        self.kind = kind
        self.mixes = mixes
        self.begin = self.known = begin
        self.end = end
        self.near = near
        self.earlier = earlier
        self.room = room
