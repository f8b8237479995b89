"""The shared reference workloads: real profiled graphs, beside the checkout or in PLACER_WORKLOADS."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from placer.formats.files import load
from placer.instance.instance import Instance

ROOT = Path(
    os.environ.get("PLACER_WORKLOADS", Path(__file__).resolve().parents[2].parent / "shared" / "workloads")
)

THROUGHPUT = (
    "layer_bert24_inference",
    "layer_bert24_training",
    "layer_gnmt_inference",
    "layer_inceptionv3_inference",
    "layer_resnet50_inference",
    "layer_resnet50_training",
    "operator_bert_l3_inference",
    "operator_bert_l3_training",
    "operator_bert_l6_inference",
    "operator_bert_l6_training",
    "operator_resnet50_inference",
)
LATENCY = (
    "layer_bert24_inference",
    "layer_gnmt_inference",
    "layer_resnet50_inference",
    "operator_bert_l3_inference",
    "operator_bert_l6_inference",
)

needs_workloads = pytest.mark.skipif(
    not (ROOT / "known.json").is_file(),
    reason="the shared reference workloads are not beside the checkout (set PLACER_WORKLOADS)",
)


def workload(kind: str, name: str) -> Instance:
    """Load a workload; ``kind`` is "throughput" or "latency"."""
    return load(path(kind, name))


def path(kind: str, name: str) -> Path:
    return ROOT / kind / f"{name}.json"


@functools.cache
def known() -> dict[str, Any]:
    return json.loads((ROOT / "known.json").read_text())
