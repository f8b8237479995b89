"""Graphs that are read: models of the onnx package, models of PyTorch, and the shared workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

import placer
from placer.instance.instance import Instance
from tests.benchmarks.proofs.cluster import with_memory
from tests.support import workloads
from tests.support.models import LIGHT

__all__ = ["left_out", "onnx_models", "shared_workloads", "torch_models"]

CLUSTERS = (
    "v100:2",
    "v100:4",
    "t4:8,xeon-8380:1",
    "a100:2,t4:4,xeon-8380:1",
    "v100:8",
    "a100:16",
    "t4:3,cpu-core:1",
)
LEVELS = ("operator", "operator", "layer", "module")
FAMILIES = ("llama", "mixtral", "qwen3", "gemma3", "deepseek_v3", "t5", "whisper", "vit", "clip", "mamba")
"""Of `tests.support.torch_zoo`."""


def drawn(make: Callable[..., Instance], rng: np.random.Generator) -> Instance:
    """Draw cluster, level and memory for an import."""
    cluster, level = str(rng.choice(CLUSTERS)), str(rng.choice(LEVELS))
    return with_memory(make(cluster=cluster, by=level), str(rng.choice(["loose", "tight", "barely"])))


def onnx_models() -> Iterator[tuple[str, Callable[[np.random.Generator], Instance]]]:
    """Return models of the onnx package, as far as it is installed, for inference and training."""
    if find_spec("onnx") is None:
        return
    for name in LIGHT:
        for training in (False, True):

            def make(rng: np.random.Generator, name: str = name, training: bool = training) -> Instance:
                def read(cluster: str, by: str) -> Instance:
                    return placer.import_onnx(f"light:{name}", cluster=cluster, by=by, training=training)

                return drawn(read, rng)

            yield f"onnx {name}{' training' if training else ''}", make


def torch_models() -> Iterator[tuple[str, Callable[[np.random.Generator], Instance]]]:
    """Return models of PyTorch in several depths, as far as it is installed with transformers."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        return
    for family in FAMILIES:
        for training in (False, True):

            def make(rng: np.random.Generator, family: str = family, training: bool = training) -> Instance:
                from tests.support.torch_zoo import DECODERS, decoder, other

                def read(cluster: str, by: str) -> Instance:
                    depth = int(rng.choice([4, 8, 12]))
                    made = decoder(family, num_hidden_layers=depth) if family in DECODERS else other(family)
                    return placer.import_torch(made, cluster=cluster, by=by, training=training)

                return drawn(read, rng)

            yield f"torch {family}{' training' if training else ''}", make


def shared_workloads() -> Iterator[tuple[str, Callable[[np.random.Generator], Instance]]]:
    """Return the authors' workloads for throughput, as they are, where they lie beside the checkout."""
    for name in workloads.THROUGHPUT:
        if workloads.path("throughput", name).is_file():

            def make(rng: np.random.Generator, name: str = name) -> Instance:
                del rng
                return workloads.workload("throughput", name)

            yield f"shared {name.replace('_', ' ')}", make


def left_out() -> list[str]:
    """Say which graphs are not there, and why."""
    missing = {
        "models of the onnx package, which is not installed": not any(onnx_models()),
        "models of PyTorch: torch and transformers are not both installed": not any(torch_models()),
        f"the shared workloads, which are not in {workloads.ROOT}": not any(shared_workloads()),
    }
    return [what for what, is_missing in missing.items() if is_missing]
