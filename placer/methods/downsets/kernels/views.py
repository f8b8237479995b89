"""The arrays as the kernels see them: typed views, and where the threshold search stands."""

from __future__ import annotations

from placer.kernels import fixed, view
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
        self.types = len(graph.devices)
        self.ok = fixed(graph.ok)
        self.time = fixed(graph.time)
        self.memory = fixed(graph.memory)
        self.activation = fixed(graph.activation)
        self.flights = graph.flights
        self.by_stage = graph.by_stage
        self.rank = fixed(graph.rank)
        self.pool = fixed(graph.pool)
        self.again = fixed(graph.again)
        self.read_start = fixed(graph.read_start)
        self.read = fixed(graph.read)
        self.output_producer = fixed(graph.output_producer)
        self.output_bytes = fixed(graph.output_bytes)
        self.limit = fixed(graph.limit)
        self.devices = fixed(graph.devices)
        self.paying = fixed(graph.paying)
        self.succ_start = fixed(graph.succ_start)
        self.succ = fixed(graph.succ)
        self.net_size = fixed(graph.net_size)
        self.net_producer = fixed(graph.net_producer)
        self.net_direction = fixed(graph.net_direction)
        self.net_cost = fixed(graph.net_cost)
        self.item_start = fixed(graph.item_start)
        self.item_nets = fixed(graph.item_nets)
        self.mode = graph.mode
        self.chain = graph.chain
        self.gpipe = graph.gpipe
        self.optional = fixed(graph.optional)
        self.near_start = fixed(graph.near_start)
        self.near = fixed(graph.near)
        self.net_optional = fixed(graph.net_optional)


class MeasuresView:
    """The measures of work, read only."""

    def __init__(self, measures: Measures) -> None:
        self.kinds = len(measures.kind)
        self.weight = fixed(measures.weight)
        self.boundary = fixed(measures.boundary)
        self.scale = fixed(measures.scale)
        self.kind = fixed(measures.kind)
        self.slack = fixed(measures.slack)


class SpaceView:
    """States and scratch, changed in place."""

    def __init__(self, space: Space) -> None:
        self.low = view(space.low)
        self.length = view(space.length)
        self.offset = view(space.offset)
        self.pool = view(space.pool)
        self.used = view(space.used)
        self.peak = view(space.peak)
        self.left = view(space.left)
        self.crossing = view(space.crossing)
        self.rank = view(space.rank)
        self.parent = view(space.parent)
        self.kind = view(space.kind)
        self.chain = view(space.chain)
        self.alive = view(space.alive)
        self.heads = view(space.heads)
        self.words = view(space.words)
        self.where = view(space.where)
        self.missing = view(space.missing)
        self.before = view(space.before)
        self.taken = view(space.taken)
        self.excluded = view(space.excluded)
        self.available = view(space.available)
        self.position = view(space.position)
        self.listed = view(space.listed)
        self.trail = view(space.trail)
        self.stack = view(space.stack)
        self.zone = view(space.zone)
        self.zone_missing = view(space.zone_missing)
        self.distance = view(space.distance)
        self.order = view(space.order)
        self.scratch = view(space.scratch)
        self.last = view(space.last)
        self.need = view(space.need)
        self.row = view(space.row)
        self.reach = view(space.reach)
        self.rows = view(space.rows)
        self.seen = view(space.seen)
        self.frame = view(space.frame)


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


class ChainView:
    """See `Chain`."""

    def __init__(self, chain: Chain) -> None:
        self.ok = fixed(chain.ok)
        self.time = fixed(chain.time)
        self.memory = fixed(chain.memory)
        self.activation = fixed(chain.activation)
        self.flights = chain.flights
        self.by_stage = chain.by_stage
        self.limit = fixed(chain.limit)
        self.own = fixed(chain.own)
        self.extra = fixed(chain.extra)
        self.net_start = fixed(chain.net_start)
        self.net_items = fixed(chain.net_items)
        self.first = fixed(chain.first)
        self.last = fixed(chain.last)
        self.direction = fixed(chain.direction)
        self.item_start = fixed(chain.item_start)
        self.item_nets = fixed(chain.item_nets)
        self.back = fixed(chain.back)
        self.work = fixed(chain.work)
        self.slot_start = fixed(chain.slot_start)
        self.devices = fixed(chain.devices)
        self.stride = fixed(chain.stride)
        self.mix_start = fixed(chain.mix_start)
        self.mix_stages = fixed(chain.mix_stages)
        self.mix_worth = fixed(chain.mix_worth)
        self.mode = chain.mode


class ScratchView:
    """See `Scratch`."""

    def __init__(self, scratch: Scratch) -> None:
        self.inside = view(scratch.inside)
        self.holds = view(scratch.holds)
        self.moved = view(scratch.moved)
        self.compute = view(scratch.compute)
        self.reach = view(scratch.reach)
        self.before = view(scratch.before)
        self.slot = view(scratch.slot)
        self.far = view(scratch.far)
        self.free = view(scratch.free)
        self.stop = view(scratch.stop)
        self.full = view(scratch.full)
        self.limits = view(scratch.limits)
        self.bytes = view(scratch.bytes)


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
