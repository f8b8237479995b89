"""Enumeration of all downsets of a graph of atoms."""

from __future__ import annotations

import cython

from placer.methods.latency.kernels.arrays import Control, Ints, Words

if not cython.compiled:
    from placer.methods.latency.kernels.views import FULL_WORD, ONE, STOP, AtomsView, Enumeration, spend

__all__ = ["expand", "list_live", "list_open"]

BASIS, PRIME = 1469598103934665603, 1099511628211


def _contains(words: Words, state: int, atom: int) -> bool:
    """Whether an atom lies in a downset."""
    return (words[state, atom >> 6] >> (atom & 63)) & ONE != 0


def _slot_of(e: Enumeration) -> int:
    """Position of the key in the open-addressing table: where it stands, or the free place for it."""
    mask = e.table.shape[0] - 1
    code = BASIS
    for w in range(e.key.shape[0]):
        code = ((code ^ e.key[w]) * PRIME) & FULL_WORD
        code ^= code >> 29
    at = code & mask
    while e.table[at] >= 0:
        same = True
        for w in range(e.key.shape[0]):
            if e.words[e.table[at], w] != e.key[w]:
                same = False
                break
        if same:
            return at
        at = (at + 1) & mask
    return at


def _enter(e: Enumeration) -> None:
    """Enter the downsets that are known into the table."""
    for state in range(e.count):
        for w in range(e.key.shape[0]):
            e.key[w] = e.words[state, w]
        e.table[_slot_of(e)] = state


def _count_missing(e: Enumeration) -> None:
    """Count what must come before each atom outside the downset at hand; -1 for those inside."""
    atoms = e.missing.shape[0]
    for a in range(atoms):
        e.missing[a] = e.atoms.needs[a]
    for a in range(atoms):
        if _contains(e.words, e.head, a):
            e.missing[a] = -1
            for i in range(e.atoms.next_start[a], e.atoms.next_start[a + 1]):
                e.missing[e.atoms.next[i]] -= 1


def _add_children(e: Enumeration) -> None:
    """List the downsets with one atom more than the one at hand, and enter those that are new."""
    out = e.child_start[e.head]
    for a in range(e.missing.shape[0]):
        if e.missing[a] != 0:
            continue
        for w in range(e.key.shape[0]):
            e.key[w] = e.words[e.head, w]
        e.key[a >> 6] |= ONE << (a & 63)
        at = _slot_of(e)
        if e.table[at] < 0:
            e.table[at] = e.count
            for w in range(e.key.shape[0]):
                e.words[e.count, w] = e.key[w]
            e.count += 1
        e.child_atom[out] = a
        e.child[out] = e.table[at]
        out += 1
    e.head += 1
    e.child_start[e.head] = out


def _expand(e: Enumeration, control: Control) -> None:
    atoms = e.missing.shape[0]
    _enter(e)
    while e.head < e.count and control[STOP] == 0:
        if e.count + atoms > e.words.shape[0] or e.child_start[e.head] + atoms > e.child.shape[0]:
            return
        _count_missing(e)
        _add_children(e)
        spend(control, atoms // 4 + e.child_start[e.head] - e.child_start[e.head - 1])


def expand(e: Enumeration, control: Control) -> None:
    """Expand downsets from ``head`` on, until none is left, an array is full, or the flag is up.

    Breadth first, so that downsets are numbered by size.
    """
    with cython.nogil:
        _expand(e, control)


def _list_live(atoms: AtomsView, words: Words, start: Ints, live: Ints, head: int, control: Control) -> int:
    nodes = atoms.atom_of.shape[0]
    while head < words.shape[0] and control[STOP] == 0 and start[head] + nodes <= live.shape[0]:
        out = start[head]
        for u in range(nodes):
            if not _contains(words, head, atoms.atom_of[u]):
                continue
            for i in range(atoms.consumer_start[u], atoms.consumer_start[u + 1]):
                if not _contains(words, head, atoms.consumer[i]):
                    live[out] = u
                    out += 1
                    break
        head += 1
        start[head] = out
        spend(control, nodes)
    return head


def list_live(atoms: AtomsView, words: Words, start: Ints, live: Ints, head: int, control: Control) -> int:
    """List the live nodes of the downsets from number ``head`` on; stop early when ``live`` is full."""
    with cython.nogil:
        head = _list_live(atoms, words, start, live, head, control)
    return head


def _list_open(
    atoms: AtomsView, words: Words, start: Ints, opened: Ints, head: int, inside: Ints, control: Control
) -> int:
    groups = atoms.group_size.shape[0]
    while head < words.shape[0] and control[STOP] == 0 and start[head] + groups <= opened.shape[0]:
        for g in range(groups):
            inside[g] = 0
        for a in range(atoms.group.shape[0]):
            if atoms.group[a] >= 0 and _contains(words, head, a):
                inside[atoms.group[a]] += 1
        out = start[head]
        for g in range(groups):
            if 0 < inside[g] < atoms.group_size[g]:
                opened[out] = g
                out += 1
        head += 1
        start[head] = out
        spend(control, atoms.group.shape[0])
    return head


def list_open(
    atoms: AtomsView, words: Words, start: Ints, opened: Ints, head: int, inside: Ints, control: Control
) -> int:
    """List the open groups of the downsets from number ``head`` on; stop early when the array is full.

    ``inside`` is scratch (G,).
    """
    with cython.nogil:
        head = _list_open(atoms, words, start, opened, head, inside, control)
    return head
