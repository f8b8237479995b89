"""Plans of other planners: their rules against trying everything, and all planners on a small model."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from tests.benchmarks import peers
from tests.benchmarks.peer_planners import (
    Chain,
    RefusedError,
    alpa,
    alpa_formula,
    megatron,
    megatron_ends,
    torch_auto,
    uniform,
)
from tests.support.brute_step import makespan


def random_chain(seed: int) -> Chain:
    rng = np.random.default_rng(seed)
    n, devices = int(rng.integers(2, 8)), int(rng.integers(1, 5))
    moved = rng.integers(0, 4, size=(2, n + 1)).astype(float)
    moved[:, [0, n]] = 0.0  # nothing comes into the first module, or out of the last
    return Chain(
        compute_ms=rng.integers(0, 10, size=(2, n)).astype(float),
        receive_ms=np.stack([moved[0, :-1], moved[1, 1:]]),
        send_ms=np.stack([moved[0, 1:], moved[1, :-1]]),
        kept_bytes=rng.integers(1, 5, size=n).astype(float),
        held_bytes=rng.integers(0, 4, size=n).astype(float),
        layers=(0, n),
        limit_bytes=float(rng.integers(8, 40)),
        devices=devices,
        microbatches=int(rng.integers(1, 6)),
    )


def splits(n, most):
    for stages in range(1, min(n, most) + 1):
        for cuts in combinations(range(1, n), stages - 1):
            yield (0, *cuts, n)


def stages_of(chain, split):
    """Forward and backward loads and memory of each stage, module by module."""
    for s, (a, b) in enumerate(pairwise(split)):
        flights = min(len(split) - 1 - s, chain.microbatches)
        yield (
            sum(chain.compute_ms[0, a:b]) + chain.receive_ms[0, a] + chain.send_ms[0, b - 1],
            sum(chain.compute_ms[1, a:b]) + chain.receive_ms[1, b - 1] + chain.send_ms[1, a],
            sum(chain.kept_bytes[a:b]) + flights * sum(chain.held_bytes[a:b]),
        )


def test_alpa_is_the_optimum_of_its_formula():
    solved = refused = 0
    for seed in range(100):
        chain = random_chain(seed)
        values = []
        for split in splits(chain.n, chain.devices):
            forward, backward, memory = zip(*stages_of(chain, split), strict=True)
            loads = [f + b for f, b in zip(forward, backward, strict=True)]
            fits = max(memory) <= chain.limit_bytes
            assert chain.holds(split) == fits
            count = chain.microbatches
            assert chain.step_ms(split) == pytest.approx(makespan(forward, backward, count, "1f1b"))
            if fits:
                values.append(sum(loads) + (count - 1) * max(loads))
        if not values:
            refused += 1
            with pytest.raises(RefusedError):
                alpa(chain)
            continue
        solved += 1
        split = alpa(chain)
        assert chain.holds(split)
        assert alpa_formula(chain, split) == pytest.approx(min(values)), seed
    assert solved > 40
    assert refused > 5


def test_torch_is_at_least_as_fast_as_its_balanced_start():
    better = 0
    for seed in range(100):
        chain = random_chain(seed)
        if chain.devices > chain.n:
            continue
        work = chain.compute_ms.sum(axis=0)

        def largest(split, work=work):
            return max(work[a:b].sum() for a, b in pairwise(split))

        full = [s for s in splits(chain.n, chain.devices) if len(s) == chain.devices + 1]
        least = min(map(largest, full))
        balanced = [s for s in full if largest(s) == least]
        found = torch_auto(chain)
        assert found in full
        assert chain.step_ms(found) <= max(map(chain.step_ms, balanced)), seed
        better += chain.step_ms(found) < min(map(chain.step_ms, balanced))
    assert better > 0  # moving boundaries finds what no balanced split has


def counted(layers: int, devices: int) -> Chain:
    """Equal layers between an embedding, and a norm and a head."""
    n = layers + 3
    work, nothing = np.ones((2, n)), np.zeros((2, n))
    ends = nothing[0], nothing[0]
    return Chain(work, nothing, nothing, *ends, (1, layers + 1), np.inf, devices, 4)


def test_rules_that_count_layers():
    assert megatron(counted(8, 4)) == (0, 3, 5, 7, 11)
    assert megatron(counted(6, 4), embedding=True, loss=True) == (0, 2, 4, 6, 9)
    assert megatron(counted(7, 4), loss=True) == (0, 3, 5, 7, 10)
    with pytest.raises(RefusedError, match="4 stages do not divide 9 layers"):
        megatron(counted(8, 4), embedding=True)
    assert uniform(counted(8, 4)) == (0, 3, 6, 9, 11)
    tried = [
        [first + 1, each, each, last + 2]
        for first, each, last in ((1, 1, 5), (5, 1, 1), (2, 2, 2), (3, 2, 1), (1, 2, 3), (1, 3, 1))
    ]
    found = megatron_ends(chain := counted(8, 4))
    assert np.diff(found).tolist() in tried
    assert chain.step_ms(found) == min(makespan(counts, counts, 4, "1f1b") for counts in tried)
    with pytest.raises(RefusedError, match="too few"):
        megatron_ends(counted(3, 4))


def test_all_planners_on_a_small_model(tmp_path):
    small = {
        "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": 32000, "hidden_size": 256,
        "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4,
    }  # fmt: skip
    case = peers.Case("small", small, "a100-80gb", "nvlink3", 3, 512)
    *others, ours = rows = list(peers.rows(case, 6, tmp_path))
    assert [row.planner for row in rows] == [*peers.PLANNERS, "ours"]
    assert ours.bound_ms <= ours.step_ms * (1 + 1e-9)
    assert all(row.refused or row.step_ms >= ours.bound_ms * (1 - 1e-9) for row in others)
    assert others[1].layers == (2, 2, 2)
    assert others[2].refused == "3 stages do not divide 8 layers"
    text = peers.page({(case, 6): rows})
    assert "| Megatron, counting ends | refuses: 3 stages do not divide 8 layers | | |" in text
    assert f"| ours | {ours.step_ms:.1f} |" in text
