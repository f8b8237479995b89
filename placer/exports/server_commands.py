"""How to start a server with a plan: commands for vLLM, SGLang and llama.cpp.

vLLM and SGLang: ``VLLM_PP_LAYER_PARTITION`` and ``SGLANG_PP_LAYER_PARTITION`` list the layers of each
pipeline rank and add up to all layers; embeddings go to the first rank, the head to the last; all ranks have
the same number of shards; ``--max-num-seqs`` and ``--max-running-requests`` bound the sequences of all
microbatches together.  Source: vLLM and SGLang, ``get_pp_indices``; vLLM, ``Scheduler.max_num_running_reqs``.

llama.cpp: ``-ngl`` counts layers from the last one back, the output first; ``-ts`` shares these out in
proportion; a layer's keys and values lie with the layer; the input embedding is always in host memory;
``-ot`` puts tensors whose names match elsewhere; ``-c`` is divided by ``-np``.  Source: llama.cpp,
``load_tensors`` and the help of ``llama-server``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import ceil
from shlex import quote

from placer.errors import UsageError
from placer.exports.server_ranks import ServerRanks, server_ranks
from placer.serving.serving_plan import ServingPlan

__all__ = ["RUNTIMES", "llama_cpp", "sglang", "vllm"]

Command = tuple[str, list[str]]
"""A script for a shell, and what its user should know."""
TENSORS = {
    "experts": r"ffn_.*_exps\.",
    "shared experts": r"ffn_.*_shexp\.",
    "router": r"(ffn_gate_inp|exp_probs_b)\.",
}
"""Names of a part's tensors in llama.cpp."""


def vllm(plan: ServingPlan, model: str) -> Command:
    """Start vLLM.

    Raises
    ------
    UsageError
        When vLLM cannot express the plan.
    """
    ranks = _on_accelerators(plan, "vllm")
    shards, replicas = ranks.stages[0].shards, ranks.stages[0].replicas
    flags = ["vllm serve", quote(model), f"--pipeline-parallel-size {len(ranks.counts)}"]
    flags.append(f"--tensor-parallel-size {shards}")
    if replicas > 1:
        flags.append(f"--data-parallel-size {replicas}")
    if plan.context is not None:
        flags.append(f"--max-model-len {plan.context}")
    flags.append(f"--max-num-seqs {ceil(plan.concurrency / replicas)}")
    remarks = ["vLLM fills the share --gpu-memory-utilization of every card, 0.9 unless told otherwise"]
    return _script(ranks, _partition("VLLM_PP_LAYER_PARTITION", ranks), flags), remarks


def sglang(plan: ServingPlan, model: str) -> Command:
    """Start SGLang.

    Raises
    ------
    UsageError
        When SGLang cannot express the plan.
    """
    ranks = _on_accelerators(plan, "sglang")
    if ranks.stages[0].replicas > 1:
        raise UsageError("sglang cannot express this plan: its stages have replicas (plan with --replicas 1)")
    flags = ["python -m sglang.launch_server", f"--model-path {quote(model)}"]
    flags += [f"--pp-size {len(ranks.counts)}", f"--tp-size {ranks.stages[0].shards}"]
    if plan.context is not None:
        flags.append(f"--context-length {plan.context}")
    flags.append(f"--max-running-requests {plan.concurrency}")
    if len(ranks.counts) > 1:
        flags.append(f"--pp-max-micro-batch-size {plan.batch}")
    return _script(ranks, _partition("SGLANG_PP_LAYER_PARTITION", ranks), flags), []


def llama_cpp(plan: ServingPlan, model: str) -> Command:
    """Start the server of llama.cpp.

    Raises
    ------
    UsageError
        When llama.cpp cannot express the plan.
    """
    ranks = server_ranks(plan, "llama.cpp")
    if any(s.shards > 1 or s.replicas > 1 for s in ranks.stages):
        raise UsageError(
            "llama.cpp cannot express this plan: a stage has shards or replicas "
            "(plan with --shards 1 --replicas 1)"
        )
    counts = [*ranks.counts[:-1], ranks.counts[-1] + 1]
    flags = ["llama-server", f"-m {quote(model)}", f"-ngl {sum(counts)}", "-sm layer"]
    flags.append(f"-ts {','.join(map(str, counts))}")
    flags += [f"-ot {quote(rule)}" for rule in _overrides(ranks)]
    if plan.context is not None:
        flags.append(f"-c {plan.context * plan.concurrency}")
    flags.append(f"-np {plan.concurrency}")
    remarks = []
    if not ranks.host_ends:
        remarks.append("llama.cpp keeps the input embedding in host memory, not on the first device")
    if plan.microbatches > 1:
        remarks.append(
            f"llama.cpp runs all sequences as one microbatch, the plan has {plan.microbatches}: expect fewer "
            "tokens per second than it says"
        )
    return _script(ranks, "", flags), remarks


RUNTIMES: dict[str, Callable[[ServingPlan, str], Command]] = {
    "vllm": vllm,
    "sglang": sglang,
    "llama.cpp": llama_cpp,
}
"""Servers by name."""


def _on_accelerators(plan: ServingPlan, runtime: str) -> ServerRanks:
    """Layout of a plan with nothing on hosts, all of whose ranks are alike."""
    host = next((stage for stage in plan.stages if stage.host), None)
    if host is not None:
        raise UsageError(
            f"{runtime} cannot express this plan: {host.devices[0]} is no accelerator (plan without hosts)"
        )
    ranks = server_ranks(plan, runtime)
    if ranks.apart:
        part, number, _ = ranks.apart[0]
        raise UsageError(f"{runtime} cannot express this plan: {part} of layer {number} lie apart from it")
    for what in ("shards", "replicas"):
        if len({getattr(stage, what) for stage in ranks.stages}) > 1:
            raise UsageError(
                f"{runtime} cannot express this plan: its ranks differ in {what}, and all have the same there"
            )
    return ranks


def _partition(variable: str, ranks: ServerRanks) -> str:
    if len(ranks.counts) == 1:
        return ""
    return f"{variable}={','.join(map(str, ranks.counts))} "


def _overrides(ranks: ServerRanks) -> list[str]:
    """Rules that put parts of layers elsewhere, one for each part and place."""
    apart = sorted((at is not None, at or 0, part, number) for part, number, at in ranks.apart)
    return [
        rf"blk\.({'|'.join(str(one[3]) for one in members)})\.{TENSORS[part]}={_buffer(at if card else None)}"
        for (card, at, part), members in groupby(apart, key=lambda one: one[:3])
    ]


def _buffer(at: int | None) -> str:
    return "CPU" if at is None else f"CUDA{at}"


def _script(ranks: ServerRanks, environment: str, flags: Sequence[str]) -> str:
    """Write a command of several lines, after what to know of the order of devices."""
    command = " \\\n  ".join(flags)
    return f"# devices in order, for CUDA_VISIBLE_DEVICES: {', '.join(ranks.names)}\n{environment}{command}\n"
