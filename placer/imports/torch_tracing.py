"""What ``torch.export`` is about while it traces a model, and when that would take too long.

An export writes out every pass of a Python loop.  A scan over a sequence, such as that of a state-space model
without its kernels, becomes millions of operators: hours of tracing, and tens of gigabytes of memory.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from placer.errors import InputError
from placer.imports.torch_lines import said_of_line

__all__ = ["MOST_CALLS", "traced"]

MOST_CALLS = 100_000
"""Calls of torch's functions that are traced at most: minutes, and a few gigabytes."""
TOLD = 1000
"""Calls between two messages."""


@contextlib.contextmanager
def traced(module: Any, watch: Callable[[str], None]) -> Iterator[None]:
    """Tell what is traced, and stop what would not end.

    Parameters
    ----------
    module
        The model.
    watch
        Told which module is traced, and how many calls there were.

    Raises
    ------
    InputError
        When the calls within one module, as often as the model has such modules, are more than `MOST_CALLS`.
    """
    from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
    from torch.overrides import TorchFunctionMode

    seen = _Seen(module, watch)

    class Count(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") != "__get__":
                seen.call()
            return func(*args, **(kwargs or {}))

    hooks = [
        register_module_forward_pre_hook(lambda called, _: seen.enter(called)),
        register_module_forward_hook(lambda called, *_: seen.leave(called), always_call=True),
    ]
    try:
        with Count():
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Seen:
    """Modules that are being called, with the calls of functions within each."""

    def __init__(self, module: Any, watch: Callable[[str], None]) -> None:
        self.watch = watch
        self.paths = {id(part): path for path, part in module.named_modules()}
        self.alike = Counter(type(part) for part in module.modules())
        self.within: list[list[Any]] = []
        self.modules = self.calls = 0
        self.stopped = False

    def enter(self, called: Any) -> None:
        if id(called) in self.paths:  # torch wraps the model in some of its own
            self.modules += 1
            self.within.append([called, 0])
            self.tell()

    def leave(self, called: Any) -> None:
        if self.within and self.within[-1][0] is called:
            self.within.pop()

    def tell(self) -> None:
        self.watch(f"tracing, {self.modules} calls of modules: {self._named(self.within[-1][0])}")

    def _named(self, called: Any) -> str:
        return self.paths[id(called)] or type(called).__name__

    def call(self) -> None:
        if not self.within or self.stopped:  # torch prepares every weight with calls of its own
            return
        self.calls += 1
        called, count = self.within[-1]
        self.within[-1][1] = count = count + 1
        alike = self.alike[type(called)]
        if count * alike > MOST_CALLS or self.calls > MOST_CALLS:
            self.stopped = True  # torch tidies up with calls of its own
            kind, path = type(called).__name__, self.paths[id(called)]
            modules = f"{alike} modules {kind}" if alike > 1 else f"a module {kind}"
            at = said_of_line("".join(traceback.format_stack()))
            where = f"{path}, one of {modules}," if path else modules
            raise InputError(
                f"the export writes out every pass of a loop: {where} makes {count} calls and more, over "
                f"{MOST_CALLS} in all; give a shorter sequence, or build the model with a scan of torch or a "
                f"kernel of its own{f' (at {at})' if at else ''}"
            )
        if count % TOLD == 0:
            self.watch(f"tracing, {self.calls} calls of functions: {self._named(called)}")
