"""From a seed to a case."""

import random
from typing import Any

from tests.fuzz.case import Case
from tests.fuzz.cluster import make_cluster
from tests.fuzz.draws import Numbers
from tests.fuzz.features import features_of
from tests.fuzz.graph import make_graph
from tests.fuzz.rules import add_rules
from tests.fuzz.settings import make_settings

__all__ = ["generate"]


def generate(seed: int) -> Case:
    """Make the case of a seed."""
    rng = random.Random(seed)
    features = features_of(seed, rng)
    numbers = Numbers(features, rng)
    cluster = make_cluster(features, numbers, rng)
    document: dict[str, Any] = {
        "format": "placer-instance",
        "version": 1,
        "name": f"fuzz-{seed}",
        **make_graph(features, numbers, rng, cluster),
        "cluster": cluster,
    }
    options = make_settings(features, rng)
    if "microbatches" in features:
        by_option = "options" in features and rng.random() < 0.5
        document["training"]["microbatches"] = rng.choice((1, 2, 3, 5))
        if by_option:
            options["microbatches"] = rng.choice((1, 2, 4))
    add_rules(features, numbers, rng, document, options)
    return Case(seed, frozenset(features), document, options)
