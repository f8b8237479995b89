"""Random options of a solve; the method is drawn later."""

import random
from typing import Any


def make_settings(features: set[str], rng: random.Random) -> dict[str, Any]:
    """Draw the options that the features ask for."""
    options: dict[str, Any] = {"gap": rng.choice((1e-4, 1e-4, 1e-6, 0.0, 0.01))}
    if rng.random() < 0.1:
        options["seed"] = rng.randrange(1000)
    if "recompute" in features:
        options["recompute"] = rng.choice(("auto", "auto", "all"))
    if "replicas" in features:
        options["replicas"] = rng.randint(2, 3)
    if "balance" in features:
        options["balance"] = True
    if features & {"balance", "near"}:
        options["gap"] = 1e-6
        if rng.random() < 0.3:
            options["slack"] = 0.3
    if "free" in features:
        options["contiguous"] = False
    if "gpipe" in features:
        options["schedule"] = "gpipe"
    if "communication" in features:
        options["communication"] = rng.choice(("overlap", "duplex"))
    if "latency" in features:
        options["objective"] = "latency"
    if "pieces" in features:
        options["pieces"] = rng.randint(2, 3)
    return options
