"""Memory that servers of others report in public threads, against the configurations of the models."""

import re
from pathlib import Path

import pytest

from placer.language.configuration import language_model
from tests.support.language_models import MODELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "serve-scenarios.md"
GIB, MIB = 2.0**30, 2.0**20
DENSE = {"model_type": "llama", "torch_dtype": "bfloat16"}
MIXTURE = {"model_type": "qwen3_moe", "torch_dtype": "bfloat16", "head_dim": 128, "num_experts_per_tok": 8}


def sizes(vocabulary, width, inner, layers, heads, kv_heads):
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }


CONFIGURATIONS = {
    "Qwen3-30B-A3B": MODELS["Qwen3-30B-A3B"][0],
    "Llama-3.1-8B": MODELS["Llama-3-8B"][0],
    "gpt-oss-20b": MODELS["gpt-oss-20b"][0],
    "Llama-2-70B": {**DENSE, **sizes(32000, 8192, 28672, 80, 64, 8)},
    "Qwen3-14B": {
        "model_type": "qwen3",
        "torch_dtype": "bfloat16",
        "head_dim": 128,
        **sizes(151936, 5120, 17408, 40, 40, 8),
    },
    "Qwen3-Coder-480B-A35B": {
        **MIXTURE,
        **sizes(151936, 6144, 8192, 62, 96, 8),
        "num_experts": 160,
        "moe_intermediate_size": 2560,
    },
    "Qwen3-235B-A22B": {
        **MIXTURE,
        **sizes(151936, 4096, 12288, 94, 64, 4),
        "num_experts": 128,
        "moe_intermediate_size": 1536,
    },
}


def cache(name, tokens):
    """Bytes of the keys and values of a sequence, 16 bits each."""
    return 2.0 * language_model(CONFIGURATIONS[name]).cached_numbers(tokens)


def fitting(name, room):
    """Tokens of a sequence that fit, for models whose every layer caches all of them."""
    return int(room // cache(name, 1))


@pytest.mark.parametrize(
    ("thread", "reported", "ours", "tolerance", "shown"),
    [
        ("vllm/issues/34076", 24.0, cache("Qwen3-30B-A3B", 262144) / GIB, 1e-9, "24.00 GiB"),
        ("vllm/issues/34076", 34736, fitting("Qwen3-30B-A3B", 3.18 * GIB), 1.6e-3, "34,734 tokens"),
        ("recipes/pull/12", 62.0, cache("Qwen3-Coder-480B-A35B", 262144) / GIB, 1e-9, "62.00 GiB"),
        ("recipes/pull/12", 205728, fitting("Qwen3-Coder-480B-A35B", 48.66 * GIB), 2e-4, "205,744 tokens"),
        (
            "vllm/issues/10517",
            14.9888,
            language_model(CONFIGURATIONS["Llama-3.1-8B"]).weight_bytes / GIB,
            3e-3,
            "14.96 GiB",
        ),
        ("vllm/issues/10517", 31232, fitting("Llama-3.1-8B", 3.81 * GIB), 1.4e-3, "31,211 tokens"),
        ("LMCache/issues/1739", 42656, fitting("Qwen3-14B", 6.51 * GIB), 8e-4, "42,663 tokens"),
        ("vllm/issues/21348", 8.23, cache("Qwen3-235B-A22B", 367404) / 2 / 4 / GIB, 7e-4, "8.23 GiB"),
        ("ollama/issues/1800", 640, cache("Llama-2-70B", 2048) / MIB, 1e-9, "640 MiB"),
        ("gguf-parser-go/issues/32", 3.0 + 0.05, cache("gpt-oss-20b", 131072) / GIB, 0.02, "3.003 GiB"),
        (
            "ik_llama.cpp/issues/822",
            20.91,
            language_model(CONFIGURATIONS["gpt-oss-20b"]).parameters / 1e9,
            3e-4,
            "20.91 B",
        ),
    ],
)
def test_what_threads_report(thread, reported, ours, tolerance, shown):
    """Within what rounding to the digits reported leaves open; and the page says it."""
    assert ours == pytest.approx(reported, rel=tolerance)
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if f"{thread})" in line]
    assert any(row.endswith(f"| {shown} |") for row in rows), rows
    value = float(re.sub(r"[^\d.]", "", shown.split()[0]))
    assert ours == pytest.approx(value, rel=5e-4)
