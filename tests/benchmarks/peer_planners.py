"""How others split a chain of layers into the stages of a pipeline: their rules, in our own words.

`Chain` has the costs that all of them see.  A split is a tuple of bounds, from 0 to the number of modules:
stage s holds modules ``split[s]`` to ``split[s + 1] - 1``, and stage s runs on device s.

Sources: the rule of Megatron-LM (``get_num_layers_to_build``) as a public simulator of it restates it; the
formula of Alpa (Zheng et al., 2022); pull request 179212 of pytorch, its description and the file
``torch/distributed/pipelining/_partition.py`` at commit 80175096ec4b: its steps and how it breaks ties, in
code of our own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.options import Schedule
from placer.plans.step_time import longest_path, makespan_ms

__all__ = [
    "Chain",
    "RefusedError",
    "Split",
    "alpa",
    "alpa_formula",
    "megatron",
    "megatron_ends",
    "torch_auto",
    "uniform",
]

Split = tuple[int, ...]


class RefusedError(ValueError):
    """A rule that does not apply to the model and the number of devices."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Modules in a row, on identical devices; row 0 is the forward pass, row 1 the backward pass.

    Parameters
    ----------
    compute_ms
        Per microbatch, ``(2, n)``.
    receive_ms, send_ms
        What each module receives and sends when its neighbours are elsewhere, ``(2, n)``.
    kept_bytes, held_bytes
        What each keeps always, and for each microbatch in flight, ``(n,)``.
    layers
        The first of the equal layers, and the one after the last.
    limit_bytes
        Memory of a device.
    devices, microbatches
        How many there are, and how many pass in a step.
    """

    compute_ms: FloatArray
    receive_ms: FloatArray
    send_ms: FloatArray
    kept_bytes: FloatArray
    held_bytes: FloatArray
    layers: tuple[int, int]
    limit_bytes: float
    devices: int
    microbatches: int

    @property
    def n(self) -> int:
        """Number of modules."""
        return self.compute_ms.shape[1]

    def stage_ms(self) -> FloatArray:
        """Both loads of a stage from module a to b - 1 at ``[:, a, b]``; inf if it is empty."""
        start = np.concatenate([np.zeros((2, 1)), np.cumsum(self.compute_ms, axis=1)], axis=1)
        load = start[:, None, :] - start[:, :, None]
        first, last = self.receive_ms.copy(), self.send_ms.copy()
        first[1], last[1] = self.send_ms[1], self.receive_ms[1]  # gradients come in at the end
        load[:, :-1, :] += first[:, :, None]
        load[:, :, 1:] += last[:, None, :]
        load[:, np.tri(self.n + 1, dtype=np.bool_)] = np.inf
        return np.asarray(load)

    def fits(self, in_flight: int) -> BoolArray:
        """Whether a stage from module a to b - 1 fits a device with so many microbatches in flight."""
        bytes_ = np.concatenate([[0.0], np.cumsum(self.kept_bytes + in_flight * self.held_bytes)])
        return np.asarray(bytes_[None, :] - bytes_[:, None] <= self.limit_bytes)

    def loads(self, split: Split) -> tuple[list[float], list[float]]:
        """Forward and backward loads of the stages of a split."""
        forward, backward = self.stage_ms()[:, split[:-1], split[1:]].tolist()
        return forward, backward

    def step_ms(self, split: Split) -> float:
        """Time of a step under 1F1B."""
        return makespan_ms(*self.loads(split), self.microbatches, Schedule.ONE_F_ONE_B)

    def holds(self, split: Split) -> bool:
        """Whether all stages of a split fit their devices."""
        stages = len(split) - 1
        flights = (min(stages - s, self.microbatches) for s in range(stages))
        return all(self.fits(k)[split[s], split[s + 1]] for s, k in enumerate(flights))


# -- rules that count layers -----------------------------------------------------------------------


def _bounds(counts: list[int]) -> Split:
    return (0, *np.cumsum(counts).tolist())


def uniform(chain: Chain) -> Split:
    """Equally many modules in each stage, what embeds and the head among them; the first have one more."""
    each, more = divmod(chain.n, chain.devices)
    return _bounds([each + (s < more) for s in range(chain.devices)])


def megatron(chain: Chain, *, embedding: bool = False, loss: bool = False) -> Split:
    """Equally many layers in each stage; the embedding counts as one of them if asked, and so does the loss.

    Raises
    ------
    RefusedError
        When the devices do not divide the layers.
    """
    layers = chain.layers[1] - chain.layers[0]
    each, rest = divmod(layers + embedding + loss, chain.devices)
    if rest:
        raise RefusedError(f"{chain.devices} stages do not divide {layers + embedding + loss} layers")
    counts = [each] * chain.devices
    counts[0] -= embedding
    counts[-1] -= loss
    return _with_ends(chain, counts)


def megatron_ends(chain: Chain) -> Split:
    """Equally many layers in all stages but the first and the last, whose numbers are tried out, in all ways.

    The fastest that holds, or the fastest, if none does.

    Raises
    ------
    RefusedError
        When there is no such split.
    """
    layers, between = chain.layers[1] - chain.layers[0], chain.devices - 2
    splits = [
        _with_ends(chain, [first, *[each] * between, layers - first - each * between])
        for each in range(1, layers // between + 1)
        for first in range(1, layers - each * between)
    ]
    if not splits:
        raise RefusedError(f"{layers} layers are too few for {chain.devices} stages")
    return min(splits, key=lambda split: (not chain.holds(split), chain.step_ms(split)))


def _with_ends(chain: Chain, counts: list[int]) -> Split:
    """Put what comes before the layers into the first stage, and what comes after them into the last."""
    first, after = chain.layers
    counts = [*counts]
    counts[0] += first
    counts[-1] += chain.n - after
    return _bounds(counts)


# -- Alpa ------------------------------------------------------------------------------------------


def alpa_formula(chain: Chain, split: Split) -> float:
    """Σ L + (m − 1)·max L."""
    loads = [f + b for f, b in zip(*chain.loads(split), strict=True)]
    return sum(loads) + (chain.microbatches - 1) * max(loads)


def alpa(chain: Chain) -> Split:
    """Least by Alpa's formula, of all splits that fit into memory.

    For each possible largest load, the least sum of loads none of which is larger, by a dynamic program over
    modules and the number of stages that follow, which says how many microbatches are in flight.

    Raises
    ------
    RefusedError
        When none fits.
    """
    n, load = chain.n, chain.stage_ms().sum(axis=0)
    fits = [chain.fits(min(k, chain.microbatches)) for k in range(1, chain.devices + 1)]
    best: tuple[float, Split] = np.inf, ()
    for largest in np.unique(load[np.isfinite(load)]).tolist():
        if (chain.microbatches - 1) * largest >= best[0]:
            break
        rest = np.full(n + 1, np.inf)  # the least sum of what follows a module
        rest[n], choice = 0.0, []
        for k, fit in enumerate(fits, start=1):
            total = np.where(fit & (load <= largest), load, np.inf) + rest
            choice.append(total.argmin(axis=1))
            rest = total.min(axis=1)
            if rest[0] + (chain.microbatches - 1) * largest < best[0]:
                split = [0]
                for j in reversed(range(k)):
                    split.append(int(choice[j][split[-1]]))
                best = float(rest[0]) + (chain.microbatches - 1) * largest, tuple(split)
    if not best[1]:
        raise RefusedError("nothing fits")
    return best[1]


# -- pull request 179212 of pytorch ----------------------------------------------------------------


def torch_auto(chain: Chain) -> Split:
    """Balance forward and backward work, then move boundaries of the critical stage while that may help.

    The start has the least largest work of a stage, transfers left out, no stage empty.  From a split two
    others follow: the critical stage gives its first module to those before it, or its last to the one after
    it, and all before the boundary are balanced again.  Splits whose critical stage is not later are
    followed; the fastest ever seen, transfers included, is the answer.

    Ours: the critical stage is the one where the longest path through the step spends most of its time.
    """
    work = chain.compute_ms.sum(axis=0)
    start = _balanced(work, chain.devices)
    best, seen = start, {start}
    queue = deque([(start, _critical(chain, start))])
    while queue:
        split, critical = queue.popleft()
        for other in _neighbours(work, split, critical) if critical else ():
            if other in seen:
                continue
            seen.add(other)
            best = min(best, other, key=chain.step_ms)
            later = _critical(chain, other)
            if later <= critical:
                queue.append((other, later))
    return best


def _neighbours(work: FloatArray, split: Split, critical: int) -> Iterator[Split]:
    if split[critical + 1] - split[critical] < 2:
        return
    yield (*_balanced(work[: split[critical] + 1], critical), *split[critical + 1 :])
    if critical + 2 < len(split):
        yield (*_balanced(work[: split[critical + 1] - 1], critical + 1), *split[critical + 2 :])


def _critical(chain: Chain, split: Split) -> int:
    loads = chain.loads(split)
    counts = longest_path(*loads, chain.microbatches)
    return int((np.array(loads) * np.array(counts)).sum(axis=0).argmax())


def _balanced(work: FloatArray, stages: int) -> Split:
    """Split so that the largest sum is least; of several, the later stages take more."""
    n, start = len(work), np.concatenate([[0.0], np.cumsum(work)])
    load = start[None, :] - start[:, None]
    load[np.tri(n + 1, dtype=np.bool_)] = np.inf
    best, choice = np.where(np.arange(n + 1) == 0, 0.0, np.inf), []
    for _ in range(stages):
        largest = np.maximum(best[:, None], load)
        choice.append(largest.argmin(axis=0))
        best = largest.min(axis=0)
    split = [n]
    for k in reversed(range(stages)):
        split.append(int(choice[k][split[-1]]))
    return tuple(reversed(split))
