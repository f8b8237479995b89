"""Plans of other planners for one training step beside ours, all by the same costs.

    python -m tests.benchmarks.peers [--out FILE]

What others do is in `tests.benchmarks.peer_planners`.  Every plan is evaluated from the instance alone and
simulated event by event, and both must agree; memory is checked by the rules that verify our own plans.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import placer
from placer.formats.text import write_text
from placer.instance import overrides
from placer.options import Objective, Options
from placer.plans.check import plan_of
from placer.plans.evaluate import device_loads, device_memory
from placer.plans.figures import objective_of
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.plans.verify import violations
from tests.benchmarks import peer_planners as peers
from tests.benchmarks.encoder_decoder import chained, training_document
from tests.benchmarks.peer_planners import Chain, RefusedError, Split
from tests.support.language_models import MODELS

__all__ = ["Case", "chain_of", "main", "measured", "plan_for"]

GIB = 2**30
GPT_3_13B = {
    "model_type": "gpt2",
    "vocab_size": 50257,
    "n_positions": 2048,
    "n_embd": 5120,
    "n_layer": 40,
    "n_head": 40,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
INTRO = """\
# Other planners

What others would do with the same model on the same devices, and what one training step then takes. Made by
`python -m tests.benchmarks.peers --out docs/peers.md`, in 40 seconds of processor time.

All planners see the same costs: those of `placer import hf --training --by module`, one sequence per
microbatch, mixed Adam, and 1F1B. T5 comes from `placer import torch`, with Adam and 512 tokens for its
encoder and for its decoder; its 48 layers stand in a row and pass along what the decoder reads of the
encoder, since these rules know nothing but chains. Every plan is evaluated and simulated event by event (the
two agree to 1e-9), and its memory is checked as that of our own plans is. The times are modelled, so the
ratios mean more than the milliseconds. Other planners are rules in our own words, from public descriptions
and code: none of their code runs, and they may differ from what their authors ship.

- **uniform**: equally many modules in each stage (embedding, layers, norm and head are modules).
- **Megatron**: equally many layers in each stage, the embedding with the first and the head with the last;
  it refuses what does not divide. **counting ends**: the embedding, the loss, or both count as a layer
  (`--account-for-embedding-in-pipeline-split`, `--account-for-loss-in-pipeline-split`); the best that
  divides. **best ends**: numbers of layers of the first and the last stage
  (`--decoder-first-pipeline-num-layers`, `last`), the best of all that there are, found by trying them out,
  which Megatron leaves to you.
- **Alpa's formula**: least Σ L + (m − 1)·max L of all splits that fit into memory, L the load of a stage;
  fewer stages than devices are allowed.
  It does not see where in the pipeline a heavy stage is, so that splits it finds equal differ; one of them
  is shown.
- **PyTorch PR 179212**: as in a version of its code, which may not be the last: balanced
  forward and backward work, then boundaries of the critical stage are moved
  while the simulated step gets shorter. It does not look at memory. Its critical stage is here the one
  where the longest path through the whole step spends most of its time; there, it is that of the steady
  phase alone. Transfers occupy both devices here, for all planners alike.
- **ours**: `placer solve --objective step`.
"""


@dataclass(frozen=True, eq=False)
class Case:
    """A model on identical devices."""

    name: str
    configuration: dict[str, Any]
    device: str
    link: str
    devices: int
    sequence: int

    def cluster(self, folder: Path, devices: int) -> Path:
        """Write the cluster with so many devices."""
        file = folder / "cluster.toml"
        row = f'{{ device = "{self.device}", count = {devices}, link = "{self.link}" }}'
        write_text(file, f"[clusters.peers]\nclasses = [{row}]\n")
        return file

    def instance(self, folder: Path, devices: int) -> placer.Instance:
        """Make the instance with so many devices."""
        model = folder / "config.json"
        write_text(model, json.dumps(self.configuration))
        cluster = self.cluster(folder, devices)
        work: Any = {"batch": 1, "sequence": self.sequence}
        return placer.import_hf(model, cluster=str(cluster), work=work, by="module", training=True)


@dataclass(frozen=True, eq=False)
class EncoderDecoder(Case):
    """A T5, whose layers pass along what the decoder reads of the encoder."""

    def instance(self, folder: Path, devices: int) -> placer.Instance:
        """Make the instance with so many devices."""
        document = training_document(self.cluster(folder, 1), self.sequence)
        file = folder / "chain.json"
        write_text(file, json.dumps(chained(document, devices)))
        return placer.load(file)


CASES = (
    Case("Llama-3-8B", MODELS["Llama-3-8B"][0], "a100-80gb", "nvlink3", 8, 4096),
    Case("Llama-3-70B", MODELS["Llama-3-70B"][0], "h200", "infiniband-ndr", 16, 4096),
    Case("GPT-3 13B", GPT_3_13B, "a100-80gb", "infiniband-hdr", 16, 2048),
    Case("Mixtral-8x7B", MODELS["Mixtral-8x7B"][0], "a100-80gb", "infiniband-hdr", 16, 4096),
    Case("Qwen3-30B-A3B", MODELS["Qwen3-30B-A3B"][0], "a100-80gb", "infiniband-hdr", 16, 4096),
    EncoderDecoder("T5-11B", {}, "a100-80gb", "infiniband-hdr", 16, 512),
)
ROUNDS = (1, 4)
"""Microbatches of a step, as multiples of the number of devices."""


def _counting_ends(chain: Chain) -> Split:
    found, cause = [], ""
    for embedding, loss in ((True, False), (False, True), (True, True)):
        try:
            found.append(peers.megatron(chain, embedding=embedding, loss=loss))
        except RefusedError as error:
            cause = str(error)
    if not found:
        raise RefusedError(cause)
    return min(found, key=lambda split: (not chain.holds(split), chain.step_ms(split)))


PLANNERS: dict[str, Callable[[Chain], Split]] = {
    "uniform": peers.uniform,
    "Megatron": partial(peers.megatron),
    "Megatron, counting ends": _counting_ends,
    "Megatron, best ends": peers.megatron_ends,
    "Alpa's formula": peers.alpa,
    "PyTorch PR 179212": peers.torch_auto,
}


# -- from an instance to a chain, and back ---------------------------------------------------------


def modules_of(instance: placer.Instance) -> list[str]:
    """Name the modules in the order of the forward pass."""
    return [name for name in instance.ids if not name.endswith("/backward")]


def chain_of(spread: placer.Instance, devices: int, microbatches: int) -> Chain:
    """Read the costs of a chain from an instance that has a device for each module."""
    modules = modules_of(spread)
    split = tuple(range(len(modules) + 1))
    plan, options = plan_for(spread, split), Options(objective=Objective.STEP, microbatches=1)
    loads = device_loads(spread, plan.device)
    memory = device_memory(spread, plan, in_flight(overrides.apply(spread, options), options), plan.stages)
    layers = [i for i, name in enumerate(modules) if name.rpartition(".")[2].isdigit()]
    assert layers == list(range(layers[0], layers[-1] + 1))
    return Chain(
        compute_ms=loads.compute_ms,
        receive_ms=loads.receive_ms,
        send_ms=loads.send_ms,
        kept_bytes=memory.resident_bytes,
        held_bytes=memory.activation_bytes,
        layers=(layers[0], layers[-1] + 1),
        limit_bytes=spread.devices[0].memory_limit_bytes,
        devices=devices,
        microbatches=microbatches,
    )


def plan_for(instance: placer.Instance, split: Split) -> Plan:
    """Put each stage on the device of its number."""
    at = {name: i for i, name in enumerate(modules_of(instance))}
    stage = np.repeat(np.arange(len(split) - 1), np.diff(split))
    device = np.array([stage[at[name.removesuffix("/backward")]] for name in instance.ids])
    return Plan(device, stages=tuple(range(len(split) - 1)))


@dataclass(frozen=True)
class Row:
    """What came of a planner."""

    planner: str
    step_ms: float | None = None
    layers: tuple[int, ...] = ()
    memory_gib: float = 0.0
    """Largest of a device."""
    broken: bool = False
    """Whether a device has less memory than that."""
    refused: str = ""
    bound_ms: float | None = None


def measured(instance: placer.Instance, plan: Plan, options: Options, planner: str) -> Row:
    """Evaluate a plan, simulate it and check its memory."""
    instance = overrides.apply(instance, options)
    step_ms = objective_of(instance, plan, options)
    simulated_ms = placer.simulate(instance, plan, options, microbatches=options.microbatches).makespan_ms
    assert abs(simulated_ms - step_ms) <= 1e-9 * step_ms, (planner, simulated_ms, step_ms)
    broken = violations(instance, plan, options)
    assert all("more than its limit of" in text for text in broken), broken
    memory = device_memory(instance, plan, in_flight(instance, options), plan.stages)
    layer = np.array([name.rpartition(".")[2].isdigit() for name in instance.ids])
    counts = [int((layer & (plan.device == d)).sum()) for d in plan.stages or ()]
    largest = float(memory.total_bytes.max()) / GIB
    return Row(planner, step_ms, tuple(counts), largest, bool(broken))


def rows(case: Case, microbatches: int, folder: Path) -> list[Row]:
    """Ask all planners, us last; no plan that holds may be faster than our bound."""
    found: list[Row] = []
    instance = case.instance(folder, case.devices)
    spread = case.instance(folder, len(modules_of(instance)))
    chain = chain_of(spread, case.devices, microbatches)
    options = Options(objective=Objective.STEP, microbatches=microbatches)
    for name, planner in PLANNERS.items():
        try:
            split = planner(chain)
        except RefusedError as error:
            found.append(Row(name, refused=str(error)))
            continue
        row = measured(instance, plan_for(instance, split), options, name)
        assert row.step_ms is not None
        assert abs(chain.step_ms(split) - row.step_ms) <= 1e-9 * row.step_ms, (name, "other costs")
        found.append(row)
    result = placer.solve(instance, options)
    row = measured(instance, plan_of(instance, result), options, "ours")
    assert result.bound is not None
    for other in found:
        assert other.step_ms is None or other.broken or other.step_ms >= result.bound * (1 - 1e-9), other
    return [*found, replace(row, bound_ms=result.bound)]


# -- the page --------------------------------------------------------------------------------------


def _summary(found: dict[tuple[Case, int], list[Row]]) -> Iterator[str]:
    yield f"| model, devices | m | {' | '.join(PLANNERS)} | ours, s | bound, s |"
    yield "|---" * (len(PLANNERS) + 4) + "|"
    for (case, microbatches), answers in found.items():
        *others, ours = answers
        assert ours.step_ms is not None
        assert ours.bound_ms is not None
        cells = [_ratio(row, ours.step_ms) for row in others]
        cells += [f"{ours.step_ms / 1e3:.3f}", f"{ours.bound_ms / 1e3:.3f}"]
        yield f"| {case.name}, {case.devices} {case.device} | {microbatches} | {' | '.join(cells)} |"


def _ratio(row: Row, ours_ms: float) -> str:
    if row.step_ms is None:
        return "refuses"
    return f"{row.step_ms / ours_ms:.3f}{' †' if row.broken else ''}"


def _details(case: Case, microbatches: int, answers: Sequence[Row]) -> Iterator[str]:
    where = f"{case.devices} {case.device} on {case.link}"
    yield f"### {case.name}, {where}, {case.sequence} tokens, {microbatches} microbatches\n"
    yield "| planner | ms per step | layers of each stage | largest memory, GiB |"
    yield "|---|---|---|---|"
    for row in answers:
        if row.step_ms is None:
            yield f"| {row.planner} | refuses: {row.refused} | | |"
            continue
        layers = " ".join(map(str, row.layers))
        memory = f"{row.memory_gib:.1f}{' †' if row.broken else ''}"
        yield f"| {row.planner} | {row.step_ms:.1f} | {layers} | {memory} |"
    yield ""


def page(found: dict[tuple[Case, int], list[Row]]) -> str:
    """Write the page."""
    lines = [INTRO, "## Time of a step, over ours\n"]
    lines += ["† breaks the memory of a device: such a step cannot run. m: microbatches of a step.\n"]
    lines += [*_summary(found), "", "## The plans\n"]
    lines += ["Layers of each stage, embedding and head not counted.\n"]
    for (case, microbatches), answers in found.items():
        lines += _details(case, microbatches, answers)
    return "\n".join(lines).rstrip() + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the plans of all planners, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=main.__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page there, not to the terminal")
    args = parser.parse_args(argv)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for rounds in ROUNDS:
                key = case, rounds * case.devices
                found[key] = rows(*key, Path(folder))
    text = page(found)
    if args.out is None:
        print(text, end="")
    else:
        write_text(args.out, text)


if __name__ == "__main__":
    main()
