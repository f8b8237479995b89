"""Measuring the operators of an ONNX model on this machine, under ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from placer.errors import InputError, UsageError
from placer.imports.onnx_file import light_model, load_onnx
from placer.imports.onnx_model import read_onnx
from placer.imports.onnx_shapes.dims import set_dims
from placer.imports.profiles import kernel_times
from placer.measuring.settings import check_counts

__all__ = ["profile_onnx"]


def profile_onnx(
    path: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    repeats: int = 20,
    warmup: int = 3,
    threads: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Measure every operator of a model on the host.

    Graph optimisations are off, so that each kernel is an operator of the model, by name; a runtime that
    fuses operators is faster by what that saves.

    Parameters
    ----------
    path
        The file, or ``light:NAME``.
    dims
        Values of symbolic dimensions.
    inputs
        Arrays by input name; random ones of the right shape and type for the others.
    repeats, warmup
        Runs that count, and runs before them that do not.
    threads, seed
        Threads of the runtime, and the seed of random inputs.

    Returns
    -------
    dict[str, float]
        Median milliseconds of each operator, by the name of its first output.

    Raises
    ------
    InputError
        When the model cannot be read or run.
    UsageError
        When onnxruntime is not installed, or an option does not fit.
    """
    onnxruntime = _runtime()
    check_counts(repeats=repeats, warmup=warmup, threads=threads)
    wanted = [o.id for o in read_onnx(path, dims=dims).operators]
    model = _runnable(light_model(str(path)), dims or {})
    settings = _settings(onnxruntime, threads)
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
            written = _ran(session, inputs or {}, warmup + repeats, seed)
        except (UsageError, InputError):
            raise
        except Exception as error:  # the runtime's own exception types are not public
            raise InputError(f"ONNX Runtime cannot run it: {error}", source=str(path)) from None
        measured = kernel_times(json.loads(Path(written).read_text(encoding="utf-8")), str(path), skip=warmup)
    return {name: measured[name] for name in wanted if name in measured}


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("profiling needs onnxruntime: pip install onnx onnxruntime") from None
    return onnxruntime


def _settings(onnxruntime: Any, threads: int) -> Any:
    """Every operator by itself, and measured."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    settings.enable_profiling = True
    return settings


def _ran(session: Any, inputs: Mapping[str, Any], runs: int, seed: int) -> str:
    """Run a model so many times; return the file of its profile."""
    feed = _feed(session, inputs, np.random.default_rng(seed))
    for _ in range(runs):
        session.run(None, feed)
    return str(session.end_profiling())


def _runnable(file: Path, dims: Mapping[str, int]) -> Any:
    """Load the model with its weights; every operator is called after its first output."""
    import onnx

    load_onnx(file)  # refuses what must not be run
    model = onnx.load(file)
    for node in model.graph.node:
        node.name = next((name for name in node.output if name), node.name)
    set_dims(model, dims, {})
    return model


def _feed(session: Any, given: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    needed = {info.name: info for info in session.get_inputs()}
    unknown = given.keys() - needed.keys()
    if unknown:
        raise UsageError(f"the model has no input {min(unknown)!r}; it has {', '.join(needed)}")
    return {name: given[name] if name in given else _random(info, rng) for name, info in needed.items()}


def _random(info: Any, rng: np.random.Generator) -> Any:
    """Draw normal numbers; zeros and ones for whole numbers, which are indices or masks."""
    symbols = [size for size in info.shape if not isinstance(size, int)]
    if symbols:
        raise UsageError(
            f"input {info.name!r}: dimension {symbols[0]!r} has no value; set it with --dim NAME=N"
        )
    element = info.type.removeprefix("tensor(").removesuffix(")")
    kind = {"float": "float32", "double": "float64"}.get(element, element)
    if kind.startswith("float"):
        return rng.standard_normal(info.shape).astype(kind)
    if kind.startswith(("int", "uint", "bool")):
        return rng.integers(0, 2, info.shape).astype(kind)
    raise UsageError(f"input {info.name!r} is of type {element}; give it with --input FILE.npz")
