"""A small language model in training, and plans of it by hand that say how many layers each stage has."""

from collections.abc import Sequence

import numpy as np

from placer.imports.language_api import import_language_model
from placer.instance.instance import Instance
from placer.language.configuration import language_model
from placer.plans.plan import Plan, Team
from placer.plans.result import Result
from tests.support.plans import result_of

CONFIG = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 3000,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def decoder(
    layers: int, devices: int, *, samples: int = 2, microbatches: int = 8, shards: Sequence[int] = ()
) -> Instance:
    """Embedding, layers, norm and head, each a node and its backward node, on equal accelerators."""
    return import_language_model(
        language_model(CONFIG | {"num_hidden_layers": layers}),
        f"a100:{devices}",
        work={"batch": samples, "sequence": 64, "shards": shards},
        by="module",
        training=True,
        microbatches=microbatches,
    )


def stage_of(name: str, counts: Sequence[int]) -> int:
    """Stage of a node when stages have so many layers; embedding first, norm and head last."""
    words = name.removesuffix("/backward").split(".")
    if words[:2] != ["model", "layers"]:
        return 0 if words[-1] == "embed_tokens" else len(counts) - 1
    return int(np.searchsorted(np.cumsum(counts), int(words[2]), side="right"))


def laid_out(
    instance: Instance,
    counts: Sequence[int],
    *,
    chunks: int = 1,
    width: int = 1,
    shards: int = 1,
    zero: int = 0,
    again: Sequence[int] = (),
    **options: object,
) -> Result:
    """Return the plan whose (virtual) stages have so many layers each; stage s is on team s mod P.

    Teams are ``width`` devices that follow each other; those whose numbers are in ``again`` recompute.
    """
    ranks = len(counts) // chunks
    stage = np.array([stage_of(name, counts) for name in instance.ids])
    teams = [tuple(range(width * r, width * (r + 1))) for r in range(ranks)]
    plan = Plan(
        np.array([teams[s % ranks][0] for s in stage]),
        stages=tuple(team[0] for team in teams if chunks > 1 or team[0] // width in set(stage % ranks)),
        recompute=tuple(teams[r][0] for r in again),
        teams=tuple(Team(team, shards, zero) for team in teams if width > 1),
        chunk=stage // ranks if chunks > 1 else None,
    )
    given = {"objective": "step", "replicas": width, "shards": shards, "zero": zero, "recompute": "auto"}
    return result_of(instance, plan, **given | {"virtual_stages": chunks} | options)
