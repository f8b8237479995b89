"""Enumeration of all downsets of a graph of atoms."""

from __future__ import annotations

import numpy as np

from placer.jit import jit, jit_inline
from placer.methods.latency.kernels.types import STOP, Atoms, Control, Ints, Words, spend

__all__ = ["contains", "expand", "list_live", "list_open", "rehash"]


@jit_inline
def contains(words: Words, state: int, atom: int) -> bool:
    """Whether an atom lies in a downset."""
    return (words[state, atom >> 6] >> np.uint64(atom & 63)) & np.uint64(1) != np.uint64(0)


@jit_inline
def _slot_of(words: Words, table: Ints, key: Words) -> np.int64:
    """Position of ``key`` in the open-addressing table: where it stands, or the free place for it."""
    mask = len(table) - 1
    h = np.uint64(1469598103934665603)
    for w in range(len(key)):
        h = (h ^ key[w]) * np.uint64(1099511628211)
        h ^= h >> np.uint64(29)
    at = np.int64(h & np.uint64(mask))
    while table[at] >= 0:
        state = table[at]
        same = True
        for w in range(len(key)):
            if words[state, w] != key[w]:
                same = False
                break
        if same:
            return at
        at = (at + 1) & mask
    return at


@jit
def rehash(words: Words, count: int, table: Ints) -> None:
    """Fill an empty table (all -1, a power of two long) with the first ``count`` downsets."""
    for state in range(count):
        table[_slot_of(words, table, words[state])] = state


@jit
def expand(
    atoms: Atoms,
    words: Words,
    table: Ints,
    child_start: Ints,
    child_atom: Ints,
    child: Ints,
    head: int,
    count: int,
    key: Words,
    missing: Ints,
    control: Control,
) -> tuple[int, int]:
    """Expand downsets from number ``head`` on, until none is left, an array is full, or the flag is up.

    Breadth first, so that downsets are numbered by size.  ``key`` (W,) and ``missing`` (N,) are scratch.
    Returns the new ``(head, count)``.
    """
    N = len(atoms.needs)
    while head < count and control[STOP] == 0:
        if count + N > len(words) or child_start[head] + N > len(child):
            break
        for a in range(N):
            missing[a] = atoms.needs[a]
        for a in range(N):
            if contains(words, head, a):
                missing[a] = -1
                for e in range(atoms.next_start[a], atoms.next_start[a + 1]):
                    missing[atoms.next[e]] -= 1
        out = child_start[head]
        for a in range(N):
            if missing[a] != 0:
                continue
            for w in range(len(key)):
                key[w] = words[head, w]
            key[a >> 6] |= np.uint64(1) << np.uint64(a & 63)
            at = _slot_of(words, table, key)
            if table[at] < 0:
                table[at] = count
                for w in range(len(key)):
                    words[count, w] = key[w]
                count += 1
            child_atom[out] = a
            child[out] = table[at]
            out += 1
        head += 1
        child_start[head] = out
        spend(control, N)
    return head, count


@jit
def list_live(atoms: Atoms, words: Words, start: Ints, live: Ints, head: int, control: Control) -> int:
    """List the live nodes of the downsets from number ``head`` on; stop early when ``live`` is full."""
    m = len(atoms.atom_of)
    while head < len(words) and control[STOP] == 0 and start[head] + m <= len(live):
        out = start[head]
        for u in range(m):
            if not contains(words, head, atoms.atom_of[u]):
                continue
            for e in range(atoms.consumer_start[u], atoms.consumer_start[u + 1]):
                if not contains(words, head, atoms.consumer[e]):
                    live[out] = u
                    out += 1
                    break
        head += 1
        start[head] = out
        spend(control, m)
    return head


@jit
def list_open(
    atoms: Atoms, words: Words, start: Ints, opened: Ints, head: int, inside: Ints, control: Control
) -> int:
    """List the open groups of the downsets from number ``head`` on; stop early when the array is full.

    ``inside`` is scratch (G,).
    """
    G = len(atoms.group_size)
    while head < len(words) and control[STOP] == 0 and start[head] + G <= len(opened):
        for g in range(G):
            inside[g] = 0
        for a in range(len(atoms.group)):
            if atoms.group[a] >= 0 and contains(words, head, a):
                inside[atoms.group[a]] += 1
        out = start[head]
        for g in range(G):
            if 0 < inside[g] < atoms.group_size[g]:
                opened[out] = g
                out += 1
        head += 1
        start[head] = out
        spend(control, len(atoms.group))
    return head
