"""The arrays of the kernels: items, measures of work, states, chains, scratch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Chain", "Graph", "Measures", "Scratch", "Space"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

# Why the search returned: a plan, the end of a level, the budget, full arrays.
FOUND, LEVEL, STEPS, FULL = 0, 1, 2, 3

OPEN, BLOCKS = 7, 11
"""Lengths of the loads of a piece, and of an accumulator row before the measured work (see ``views``)."""


class Graph(NamedTuple):
    """The items: N items, E nets, T device types; times of items that a type cannot run are 0."""

    ok: Bools  # (T, N)
    time: Floats  # (T, 2, N)
    memory: Floats  # (T, N) with one microbatch in flight
    activation: Floats  # (T, N) for each further one
    flights: int  # microbatches in flight at most
    by_stage: bool  # whether the s-th piece has at most s of them (pieces then come from the end)
    rank: Ints  # (T,) place in the wanted order of devices as pieces come, -1 for none
    pool: Ints  # (T,) the first type of those that draw on the same devices
    width: Ints  # (T,) how many of them a piece takes
    again: Bools  # (T,) whether pieces recompute: they keep what they read, and activations only once
    read_start: Ints  # (N + 1,)
    read: Ints  # forward outputs of known size that an item reads from others
    output_producer: Ints  # (O,)
    output_bytes: Floats  # (O,)
    limit: Floats  # (T,)
    devices: Ints  # (T,) how many there are in the pool of each type
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
    branch: Ints  # items of each branch that has twins, B of them, those of a group one after another
    branch_start: Ints  # (B + 1,)
    branch_of: Ints  # (N,) or -1
    has_twin_before: Bools  # (B,) whether the branch before is a twin
    group_start: Ints  # (G + 1,) the first branch of each group of twins
    group_first: Ints  # (G,) smallest item of a group
    group_last: Ints  # (G,) and the greatest


class Measures(NamedTuple):
    """Additive measures of work, K of them: Σ weight over what is left ≤ Σ over the devices left of
    ``scale`` times the target (kind 0 forward, 1 backward, 2 both), or times 1 (kind 3).  Where ``unit`` is
    positive, the target is rounded down to a multiple of it."""  # noqa: D205, D209

    weight: Floats  # (K, N)
    boundary: Floats  # (K, E)
    scale: Floats  # (K, T)
    unit: Floats  # (K, T) ms
    kind: Ints  # (K,)
    slack: Floats  # (K,) rounding allowance


class Space(NamedTuple):
    """States, and the scratch arrays of the search."""

    low: Ints  # (S,) first word that is not full
    length: Ints  # (S,)
    offset: Ints  # (S,)
    key_low: Ints  # (S,) likewise of the downset that stands for it and its twins
    key_length: Ints  # (S,)
    key: Ints  # (S,)
    pool: Words
    used: Counts  # (S, T + 1) devices of the pool of each type, and pieces
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
    whole: Words  # (W,) of the downset that is written
    mask: Ints  # (B,) what it holds of each branch
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
    reach: Floats  # (3,) memory of all that the piece could reach; microbatches in flight but the first;
    # the largest sum of a piece's forward and backward load under gpipe
    rows: Floats  # (N + 1, A)
    seen: Ints  # (O,) stamps of outputs that were counted
    frame: Ints  # (N + 1, 4): choice, listed, trail, swapped


class Chain(NamedTuple):
    """N items, E nets; servers of one kind hold the slots ``slot_start[kind] : slot_start[kind + 1]``."""

    ok: Bools  # (K, N)
    time: Floats  # (K, 2, N)
    memory: Floats  # (K, N) with one microbatch in flight
    activation: Floats  # (K, N) for each further one
    flights: int  # microbatches in flight at most
    by_stage: bool  # whether the s-th stage has at most s of them
    limit: Floats  # (K,)
    own: Floats  # (K, E) cost of a net within the server
    extra: Floats  # (K, E) what it costs more across servers
    net_start: Ints  # (E + 1,)
    net_items: Ints  # the producer first
    first: Ints  # (E,) first position of a reader
    last: Ints  # (E,)
    direction: Ints  # (E,)
    item_start: Ints  # (N + 1,)
    item_nets: Ints
    back: Ints  # (N + 1,) first position of the nets that items before and from a position on share
    work: Floats  # (N + 1,) least worth of the items from a position on
    slot_start: Ints
    devices: Ints  # (K,) of a slot in one server
    stride: Ints  # (K,)
    mix_start: Ints  # by kind of server
    mix_stages: Ints  # devices that a mix uses
    mix_worth: Floats  # what they can do per ms
    mode: int  # 0 sequential, 1 overlap, 2 duplex


class Scratch(NamedTuple):
    """Scratch of the server kernels."""

    inside: Counts  # (E,) items of a net in the stage
    holds: Bools  # (E,) whether its producer is one of them
    moved: Floats  # (2, 2) by direction: received, sent
    compute: Floats  # (2,)
    reach: Bytes  # (N + 1, M) whether a mix covers the server's items up to a position
    before: Ints  # (N + 1, M) where its last stage begins
    slot: Ints  # (N + 1, M) and on which slot it is
    far: Ints  # (N,) where the longest stage ends that begins there, before transfers are counted
    free: Bytes  # (N + 1, M) reach of a server whose end is not known
    stop: Ints  # (1,) not 0 when all is to end at once, with what was found
    full: Bytes  # (N + 1, M) mixes that fill a server up to its end
    limits: Floats  # (3,) largest forward load, backward load, and sum of both on a device, in ms
    bytes: Floats  # (2,) memory of the stage with one microbatch, and for each further one
