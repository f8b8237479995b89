"""The arrays of the threshold search: items, measures of work, states and scratch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Graph", "Measures", "Space"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

# Where an item is: in the piece, left to later devices, or in the downset already.
UNDECIDED, TAKEN, EXCLUDED, BEFORE = 0, 1, 2, 3

# Places in an accumulator row; then come three blocks of K: measured work of the piece, of what it may
# still reach, and charges for the boundary of the downset.
MEMORY, FIXED, OPEN, BLOCKS = 2, 3, 7, 11

# Places in the control array.
(
    PHASE, STATE, TYPE, DEPTH, LISTED, TRAIL, STATES, POOL, LEVEL_END, STAMP, TRUNCATED, COUNT,
    GOAL_STATE, GOAL_TYPE, PIECE_COUNT, AVAILABLE, READ,
) = range(17)  # fmt: skip
CTL_SIZE = 17


class Graph(NamedTuple):
    """The items: N items, E nets, T device types; times of items that a type cannot run are 0."""

    ok: Bools  # (T, N)
    time: Floats  # (T, 2, N)
    memory: Floats  # (N,) with one microbatch in flight
    activation: Floats  # (N,) for each further one
    flights: int  # microbatches in flight at most
    by_stage: bool  # whether the s-th piece has at most s of them (pieces then come from the end)
    rank: Ints  # (T,) place in the wanted order of devices as pieces come, -1 for none
    pool: (
        Ints  # (T,) the type whose devices these are: itself, but for types that recompute beside plain ones
    )
    again: Bools  # (T,) whether pieces recompute: they keep what they read, and activations only once
    read_start: Ints  # (N + 1,)
    read: Ints  # forward outputs of known size that an item reads from others
    output_producer: Ints  # (O,)
    output_bytes: Floats  # (O,)
    limit: Floats  # (T,)
    devices: Ints  # (T,) how many of each type
    paying: Bools  # (T,)
    succ_start: Ints  # (N + 1,)
    succ: Ints
    net_size: Ints  # (E,)
    net_producer: Ints  # (E,)
    net_direction: Ints  # (E,)
    net_cost: Floats  # (T, E)
    item_start: Ints  # (N + 1,)
    item_nets: Ints
    mode: int  # 0 sequential, 1 overlap, 2 duplex
    chain: bool  # each item follows the one before it
    gpipe: bool
    optional: Bools  # (N,) items that a plan may leave out (see ``downsets.relax``)
    near_start: Ints  # (N + 1,)
    near: Ints  # optional items that share a net with an item
    net_optional: Ints  # (E,) the only optional item of a net, or -1


class Measures(NamedTuple):
    """Additive measures of work, K of them: Σ weight over what is left ≤ Σ over the devices left of
    ``scale`` times the target (kind 0 forward, 1 backward, 2 both), or times 1 (kind 3)."""  # noqa: D205, D209

    weight: Floats  # (K, N)
    boundary: Floats  # (K, E)
    scale: Floats  # (K, T)
    kind: Ints  # (K,)
    slack: Floats  # (K,) rounding allowance


class Space(NamedTuple):
    """States, and the scratch arrays of the search."""

    low: Ints  # (S,) first word that is not full
    length: Ints  # (S,)
    offset: Ints  # (S,)
    pool: Words
    used: Counts  # (S, T)
    peak: Floats  # (S, 2)
    left: Floats  # (S, K)
    crossing: Floats  # (S, K)
    rank: Floats  # (S,) the smaller the better
    parent: Ints
    kind: Ints  # type of the device of the last piece
    chain: Ints
    alive: Bools
    heads: Ints
    # the loaded downset and the piece under way
    words: Words  # (W,)
    where: npt.NDArray[np.int8]  # (N,)
    missing: Ints  # (N,)
    before: Ints  # (E,) items of the net in the downset
    taken: Ints  # (E,)
    excluded: Ints  # (E,)
    available: Ints
    position: Ints
    listed: Ints
    trail: Ints
    stack: Ints
    zone: Ints
    zone_missing: Ints
    distance: Floats
    order: Ints  # (N,) branching priority
    scratch: Floats  # (4,)
    last: Floats  # (OPEN,) loads of a piece that takes all the rest
    need: Floats  # (K,)
    row: Floats  # (A,)
    reach: Floats  # (2,) memory of all that the piece could reach; microbatches in flight but the first
    rows: Floats  # (N + 1, A)
    seen: Ints  # (O,) stamps of outputs that were counted
    frame: Ints  # (N + 1, 4): choice, listed, trail, swapped
