"""Downsets as words: written, told apart up to twins (see ``twin_branches``), and found again."""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.downsets.kernels.views import (
        BEFORE,
        EXCLUDED,
        FULL_WORD,
        ONE,
        TAKEN,
        UNDECIDED,
        Control,
        GraphView,
        SpaceView,
    )

__all__ = ["barred", "bucket", "is_written", "write"]

# Odd multipliers that spread the bits of a word (those of splitmix64).
SPREAD, MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


def bucket(space: SpaceView, at: int, begin: int, length: int) -> int:
    """Hash bucket of the downset with words pool[at : at + length] after ``begin`` full ones."""
    code = (begin * SPREAD) & FULL_WORD
    for i in range(length):
        code = ((code ^ space.pool[at + i]) * MIX) & FULL_WORD
        code ^= code >> 29
    return code & (space.heads.shape[0] - 1)


def write(g: GraphView, space: SpaceView, ctl: Control) -> None:
    """Write the downset of the finished piece behind the pool, and the one that stands for it and its twins.

    Both without full words at the beginning and empty ones at the end. ``ctl.end`` is where the pool would
    end with both.
    """
    W = space.words.shape[0]
    for w in range(W):
        space.whole[w] = space.words[w]
    for d in range(ctl.depth):
        v = space.listed[d]
        if space.where[v] == TAKEN:
            space.whole[v >> 6] |= ONE << (v & 63)
    begin, end = _write_whole(space, ctl.pool)
    ctl.low, ctl.length, ctl.offset = begin, end - begin, ctl.pool
    ctl.end = ctl.pool + ctl.length
    ctl.key_low, ctl.key_length, ctl.key = ctl.low, ctl.length, ctl.offset
    if _sort_twins(g, space, 64 * begin, 64 * end):
        begin, end = _write_whole(space, ctl.end)
        ctl.key_low, ctl.key_length, ctl.key = begin, end - begin, ctl.end
        ctl.end += ctl.key_length


def _write_whole(space: SpaceView, at: int) -> tuple[int, int]:
    """Write the words at hand into the pool; return the first one that is not full, and the empty end."""
    begin, end = 0, space.words.shape[0]
    while begin < end and space.whole[begin] == FULL_WORD:
        begin += 1
    while end > begin and space.whole[end - 1] == 0:
        end -= 1
    for w in range(begin, end):
        space.pool[at + w - begin] = space.whole[w]
    return begin, end


def _sort_twins(g: GraphView, space: SpaceView, begin: int, end: int) -> bool:
    """Let the first of each group of twins hold most in the words at hand; whether that changed them.

    Groups that lie before ``begin`` or after ``end`` are full or empty.
    """
    changed = False
    for i in range(g.group_start.shape[0] - 1):
        if g.group_last[i] < begin or g.group_first[i] >= end:
            continue
        changed = _sort_group(g, space, g.group_start[i], g.group_start[i + 1]) or changed
    return changed


def _sort_group(g: GraphView, space: SpaceView, first: int, last: int) -> bool:
    changed = False
    for b in range(first, last):
        space.mask[b] = 0
        for j in range(g.branch_start[b], g.branch_start[b + 1]):
            v = g.branch[j]
            space.mask[b] = 2 * space.mask[b] + ((space.whole[v >> 6] >> (v & 63)) & ONE)
        c = b
        while c > first and space.mask[c - 1] < space.mask[c]:
            space.mask[c - 1], space.mask[c] = space.mask[c], space.mask[c - 1]
            changed = True
            c -= 1
    if changed:
        for b in range(first, last):
            code = space.mask[b]
            for j in range(g.branch_start[b + 1] - 1, g.branch_start[b] - 1, -1):
                v = g.branch[j]
                space.whole[v >> 6] &= ~(ONE << (v & 63)) & FULL_WORD
                space.whole[v >> 6] |= (code & ONE) << (v & 63)
                code >>= 1
    return changed


def is_written(space: SpaceView, ctl: Control, x: int) -> bool:
    """Whether state x has the downset that was written last, up to twins."""
    if space.key_low[x] != ctl.key_low or space.key_length[x] != ctl.key_length:
        return False
    for i in range(ctl.key_length):
        if space.pool[space.key[x] + i] != space.pool[ctl.key + i]:
            return False
    return True


def barred(g: GraphView, space: SpaceView, v: int) -> bool:
    """Whether a piece with item v is the image of one whose item of an earlier twin is taken (*Twins*)."""
    b = g.branch_of[v]
    if b < 0 or not g.has_twin_before[b]:
        return False
    first, before = g.branch_start[b], g.branch_start[b - 1]
    at = -1
    for j in range(g.branch_start[b + 1] - first):
        x, y = g.branch[before + j], g.branch[first + j]
        if (space.where[x] == BEFORE) != (space.where[y] == BEFORE):
            return False
        if y == v:
            at = j
        elif at < 0 and (
            space.where[x] == UNDECIDED or (space.where[x] == TAKEN and space.where[y] != TAKEN)
        ):
            return False
    return space.where[g.branch[before + at]] == EXCLUDED
