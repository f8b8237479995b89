"""From a factory, or a model and its inputs, to the graph that ``torch.export`` makes of it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from placer.errors import InputError, UsageError
from placer.imports.torch_lines import said_of_line
from placer.imports.torch_sizes import with_numbers
from placer.imports.torch_tracing import traced

__all__ = ["Exported", "Watch", "exported", "torch_for"]

Watch = Callable[[str], None]
"""Told what an import is about, whenever that changes."""

EXPECTED = (
    "(module, example arguments), and behind them keyword arguments and dynamic_shapes if there are any"
)

FIXED = "dynamic shapes are not kept: a plan is for the sizes of the example inputs"


class Exported:
    """A model with its exported, functional graph.

    Parameters
    ----------
    name
        What it is called.
    module, program
        The model, and what torch exports of it.
    notes
        What was changed for the export.
    """

    def __init__(self, name: str, module: Any, program: Any, notes: tuple[str, ...]) -> None:
        self.name, self.module, self.program, self.notes = name, module, program, notes


def exported(
    source: str | Callable[[], Any] | tuple[Any, ...], *, device: str = "meta", watch: Watch | None = None
) -> Exported:
    """Export a model.

    Parameters
    ----------
    source
        ``MODULE:FACTORY``, ``FILE.py:FACTORY``, a function, or the module with its example arguments.
    device
        Default device of a function that is called.
    watch
        Told what is being done.

    Raises
    ------
    InputError
        When the factory fails, or torch cannot export the model.
    UsageError
        When torch is not installed, or there is no such factory.
    """
    watch = watch or (lambda phase: None)
    watch("loading torch")
    torch = torch_for("PyTorch models")
    if isinstance(source, torch.nn.Module):
        raise UsageError(f"a module needs example arguments to be exported: give {EXPECTED}")
    watch("making the model")
    if isinstance(source, tuple):
        name, made = type(source[0]).__name__ if source else "", source
    elif isinstance(source, str):
        name, made = source, _made(source, *_found(source), device)
    elif callable(source):
        name = f"{getattr(source, '__module__', '')}:{getattr(source, '__qualname__', type(source).__name__)}"
        made = _called(source, name, device)
    else:
        raise UsageError(
            f"expected MODULE:FACTORY, a function that returns {EXPECTED}, or these; got {source!r:.80}"
        )
    module, args, kwargs = _checked(made, name)
    fixed = (FIXED,) if len(made) == 4 and made[3] else ()
    with _without_cache(module) as notes:
        return Exported(name, module, _program(module, args, kwargs, name, watch), (*notes, *fixed))


def torch_for(what: str) -> Any:
    """Return PyTorch.

    Raises
    ------
    UsageError
        When it is not installed, saying what needs it.
    """
    try:
        import torch
    except ImportError:
        raise UsageError(f"{what} need torch: pip install torch") from None
    return torch


def _found(text: str) -> tuple[str, str, Path]:
    """Return place, name and folder of the user's factory."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"expected MODULE:FACTORY, got {text!r}")
    return place, name, Path(place).resolve().parent if place.endswith(".py") else Path.cwd()


def _made(text: str, place: str, name: str, folder: Path, device: str) -> Any:
    """Import the user's factory and call it; this runs the user's own code, as asked for."""
    with _importable(folder):
        try:
            if place.endswith(".py"):
                spec = importlib.util.spec_from_file_location(Path(place).stem, place)
                if spec is None or spec.loader is None:
                    raise ImportError(f"{place} cannot be imported")
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
            else:
                module = importlib.import_module(place)
        except Exception as error:  # whatever the user's code raises
            raise UsageError(f"{place} cannot be imported: {type(error).__name__}: {error}") from None
        found = getattr(module, name, None)
        if not callable(found):
            raise UsageError(f"{place} has no function {name!r}")
        return _called(found, text, device)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules import others of a folder meanwhile."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _called(factory: Callable[[], Any], name: str, device: str) -> Any:
    import torch

    try:
        with torch.device(device):
            return factory()
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"the factory raised {type(error).__name__}: {error}", source=name) from None


def _checked(made: Any, name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return the module, its arguments and its keyword arguments.

    Dynamic shapes, the fourth, may not even hold for the sizes of the example inputs: costs are numbers, so
    that those sizes are what counts, and sizes that are known leave nothing to compute at run time.
    """
    import torch

    if not isinstance(made, tuple) or len(made) not in (2, 3, 4) or not isinstance(made[0], torch.nn.Module):
        if isinstance(made, torch.nn.Module):
            made = "a module alone"
        elif isinstance(made, tuple):
            made = f"({', '.join(type(item).__name__ for item in made)})"
        raise InputError(f"the factory must return {EXPECTED}, got {made!s:.80}", source=name)
    args, kwargs = made[1], (made[2] if len(made) > 2 else None) or {}
    if isinstance(args, dict) and len(made) == 2:
        args, kwargs = (), args
    if not isinstance(kwargs, dict):
        raise InputError(f"keyword arguments must be a dictionary, got {type(kwargs).__name__}", source=name)
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    return made[0].eval(), args, kwargs


@contextlib.contextmanager
def _without_cache(module: Any) -> Iterator[tuple[str, ...]]:
    """Keep decoders of Hugging Face from returning their cache, which torch cannot export."""
    configs = {id(c): c for m in module.modules() if (c := getattr(m, "config", None)) is not None}
    changed = [c for c in configs.values() if getattr(c, "use_cache", None) is True]
    try:
        for config in changed:
            config.use_cache = False
        yield (
            ("use_cache is off for the export: keys and values are no outputs of the model",)
            if changed
            else ()
        )
    finally:
        for config in changed:
            config.use_cache = True


def _program(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, watch: Watch) -> Any:
    import torch

    _without_numbers(module)
    first = next((t for t in (*module.parameters(), *module.buffers())), None)
    device = "meta" if first is None else first.device
    try:
        with _quiet(), torch.device(device):  # for tensors made on the way
            args, kwargs = with_numbers((args, kwargs))
            with traced(module, watch):
                program = torch.export.export(module, args, kwargs, strict=False)
            watch(f"making {len(program.graph.nodes)} operators functional")
            return program.run_decompositions({})
    except InputError as error:
        raise error.within(name) from None
    except Exception as error:  # torch.export has no exception type of its own
        raise InputError(_reason(error), source=name) from None


def _without_numbers(module: Any) -> None:
    """Move to the meta device what a constructor put elsewhere, if anything of the module is there."""
    import torch

    held = (*module.parameters(), *module.buffers())
    if all(t.is_meta for t in held) or not any(t.is_meta for t in held):
        return
    moved: dict[int, Any] = {}  # by identity: what is shared stays shared
    for part in module.modules():
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is None or tensor.is_meta:
                continue
            if id(tensor) not in moved:
                empty = torch.empty_like(tensor, device="meta")
                trained = isinstance(tensor, torch.nn.Parameter)
                moved[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if trained else empty
            setattr(part, name, moved[id(tensor)])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from telling what the error says that it raises: warnings, records, graphs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _reason(error: Exception) -> str:
    """Say in a line why a model cannot be exported, where, and add the first line of what torch says."""
    kind, text = type(error).__name__, str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    said = lines[-1 if isinstance(error, TypeError) else 0]  # a module that is named comes line by line
    where = said_of_line(error.__traceback__)
    if "Cache" in text and ("pytree" in text or "output" in text or "input" in text):
        why = (
            "the model takes or returns a cache object, which torch.export cannot flatten; build it with "
            "use_cache=False, or pass keys and values as tensors"
        )
    elif "FlexAttention" in text:
        why = "FlexAttention has no form for the meta device; build the model with attn_implementation='sdpa'"
    elif "DataDependent" in kind or "data-dependent" in text.lower():
        at = f" at {where}" if where else ""
        return f"what the model does depends on data{at}; torch.export needs branches, loops and shapes fixed"
    elif isinstance(error, TypeError) and "argument" in text:
        why = "the example arguments do not fit the model's forward"
    else:
        why = f"torch.export cannot trace the model{f' at {where}' if where else ''}"
    return f"{why} ({kind}: {said:.200})"
