"""What every device with a limit reserves: a share for what nobody counts, working memory, shared tensors."""

from __future__ import annotations

import dataclasses

from placer.errors import InputError, UsageError
from placer.imports.catalogue import Cluster
from placer.imports.model import Model
from placer.imports.residence import Residence
from placer.imports.working import Working
from placer.instance.training import STATE_FACTOR, Training
from placer.units import size

__all__ = ["reserved"]


def reserved(
    cluster: Cluster,
    model: Model,
    where: Residence,
    work: Working,
    training: Training,
    *,
    share: float | None,
) -> tuple[Cluster, list[str]]:
    """Reserve memory on the members of all classes.

    Parameters
    ----------
    cluster
        The cluster as it was asked for.
    model, where, work
        The model, where its shared tensors lie, and its working memory.
    training
        Decides what is kept per weight.
    share
        What is kept free; None for what the cluster says.

    Returns
    -------
    (Cluster, list of str)
        With reserves, and notes about them.

    Raises
    ------
    UsageError
        When the share is none.
    InputError
        When no class has room for that.
    """
    if share is not None and not 0 <= share < 1:
        raise UsageError(f"reserve must be a share from 0 to below 1, got {share}")
    shared = _shared_bytes(model, where, training)
    need = work.reserve_bytes + shared
    notes, classes = [], []
    limited = [cls for cls in cluster.classes if cls.memory_limit_bytes < float("inf")]
    for cls in cluster.classes:
        if cls not in limited:
            classes.append(cls)
            continue
        kept = cls if share is None else dataclasses.replace(cls, memory_reserve_share=share)
        room = kept.room_bytes(0)
        if need > room:
            notes.append(f"{cls.name} has no room: {size(room)} free, {size(need)} to reserve")
        classes.append(dataclasses.replace(kept, memory_reserve_bytes=min(need, room)))
    if limited and len(notes) == len(limited):
        raise InputError(f"{notes[0]} for working memory and tensors that every device keeps")
    if shared:
        notes.append(f"{size(shared)} reserved on every device for tensors that several blocks read")
    if limited:
        free = sorted({cls.memory_reserve_share for cls in classes if cls.memory_limit_bytes < float("inf")})
        listed = " to ".join(f"{100 * s:g} %" for s in dict.fromkeys((free[0], free[-1])))
        notes.append(f"{listed} of each device's memory kept free for what no plan counts (--reserve)")
    return cluster.model_copy(update={"classes": tuple(classes)}), notes


def _shared_bytes(model: Model, where: Residence, training: Training) -> float:
    """Size of the tensors that every device keeps."""
    weights = [model.weights[key] for key in where.everywhere]
    return sum(w.size_bytes * (STATE_FACTOR[training.optimizer] if w.trainable else 1.0) for w in weights)
