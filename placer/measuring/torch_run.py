"""Running PyTorch models under a clock, the host's or events of CUDA, and counting bytes that are alive."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from placer.imports.profiles import BACKWARD
from placer.imports.torch_costs import is_part, tensors_in
from placer.imports.torch_export import Exported

__all__ = ["run_operators", "run_whole"]


def run_operators(
    program: Any, place: torch.device, backward: bool, warmup: int, repeats: int
) -> dict[str, float]:
    """Run an exported graph call by call.

    Parameters
    ----------
    program
        What ``torch.export`` made, with weights and inputs on the device.
    place
        The device.
    backward
        Whether to run the backward pass of each call as well.
    warmup, repeats
        Runs that do not count, and that do.

    Returns
    -------
    dict[str, float]
        Median milliseconds by name of the call; with `BACKWARD` those of its gradients.
    """
    stored = {**dict(program.state_dict), **program.constants}
    given = iter(pytree.tree_leaves(program.example_inputs))
    inputs = [
        stored[spec.target] if spec.target is not None else next(given, None)
        for spec in program.graph_signature.input_specs
    ]
    clock = Clock(place)
    for run in range(warmup + repeats):
        _Timed(program.graph_module, inputs, clock, backward).run(*inputs, enable_io_processing=False)
        clock.run_ends(counts=run >= warmup)
    return clock.medians()


def run_whole(
    found: Exported, place: torch.device, train: bool, warmup: int, repeats: int
) -> tuple[float, float]:
    """Run a model as it is, with backward pass or without: median milliseconds, peak memory in bytes."""
    args, kwargs = found.program.example_inputs
    clock = Clock(place)

    def once() -> None:
        with torch.set_grad_enabled(train), clock.span("whole"):
            out = found.module(*args, **kwargs)
            if train:
                ends = [t for t in tensors_in(_plain(out)) if t.requires_grad]
                torch.autograd.backward(ends, [torch.ones_like(t) for t in ends])
        found.module.zero_grad(set_to_none=True)

    for run in range(warmup + repeats):
        once()
        clock.run_ends(counts=run >= warmup)
    with peak_bytes(place) as peak:
        once()
    return clock.medians()["whole"], peak[0]


def _plain(out: Any) -> Any:
    """Take apart what a model returns: a tensor, nested containers, or an output class of a library."""
    return list(out.values()) if hasattr(out, "values") and not hasattr(out, "element_size") else out


class _Timed(torch.fx.Interpreter):  # type: ignore[misc]  # torch has no types here
    """Runs a graph node by node and times each call."""

    def __init__(self, module: torch.fx.GraphModule, inputs: list[Any], clock: Clock, backward: bool) -> None:
        super().__init__(module)
        self._clock, self._backward = clock, backward
        self._trained = {
            node.name
            for node, value in zip(module.graph.find_nodes(op="placeholder"), inputs, strict=True)
            if isinstance(value, torch.nn.Parameter) and value.requires_grad
        }
        """Nodes whose gradients training needs."""

    def run_node(self, n: torch.fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        trained = any(read.name in self._trained for read in n.all_input_nodes)
        if is_part(n):
            if trained:
                self._trained.add(n.name)
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        with torch.no_grad(), self._clock.span(n.name):
            out = self.call_function(n.target, args, kwargs)
        if self._backward and trained:
            self._gradients(n)
        return out

    def _gradients(self, n: torch.fx.Node) -> None:
        """Time the gradients of what training needs them of, where the call has any."""
        leaves: list[torch.Tensor] = []

        def value(node: torch.fx.Node) -> Any:
            held = self.env[node]
            if node.name in self._trained and isinstance(held, torch.Tensor) and held.is_floating_point():
                held = held.detach().requires_grad_()
                leaves.append(held)
            return held

        args, kwargs = torch.fx.node.map_arg(n.args, value), torch.fx.node.map_arg(n.kwargs, value)
        with torch.enable_grad():
            made = self.call_function(n.target, args, kwargs)
        ends = [t for t in tensors_in(made) if t.requires_grad]
        if not leaves or not ends:
            return
        self._trained.add(n.name)
        seeds = [torch.ones_like(t) for t in ends]
        with self._clock.span(n.name + BACKWARD):
            torch.autograd.grad(ends, leaves, seeds, allow_unused=True)


class Clock:
    """Durations by name, as many of each as there were runs.

    Parameters
    ----------
    device
        Where the work is done; what is queued on a GPU is timed by events in its queue.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []
        self._ms: dict[str, list[float]] = {}

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        begin = self._now()
        yield
        self._spans.append((name, begin, self._now()))

    def run_ends(self, *, counts: bool) -> None:
        """Wait for what is queued, and keep what a run took if it counts."""
        if self._cuda:
            torch.cuda.synchronize()
        for name, begin, end in self._spans:
            if counts:
                ms = begin.elapsed_time(end) if self._cuda else 1e3 * (end - begin)
                self._ms.setdefault(name, []).append(ms)
        self._spans.clear()

    def medians(self) -> dict[str, float]:
        """Median milliseconds by name."""
        return {name: median(times) for name, times in self._ms.items()}

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def peak_bytes(device: torch.device) -> Iterator[list[float]]:
    """Find the largest sum of bytes of tensors made inside that are alive together: the list's only item.

    Weights, and all else that was there before, do not count.
    """
    peak = [0.0]
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize()
        peak[0] = float(torch.cuda.max_memory_allocated(device) - before)
        return
    with _Alive() as alive:
        yield peak
    peak[0] = float(alive.peak)


class _Alive(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Counts the bytes of storages from the operator that makes them until they are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = {t.untyped_storage()._cdata for t in tensors_in([args, kwargs])}
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_in(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in found and storage._cdata not in self._known:
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
