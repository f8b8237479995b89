"""How to train a model on a cluster: microbatch size, degrees and stages, each choice a step of its own.

Searches that solve many steps (`placer.objectives.step`) belong here; no single solve needs anything of it.
"""
