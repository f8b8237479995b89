"""
A pipeline runs
===============

The same kind of plan event by event: the microbatches fill the pipeline, then every device alternates between
forward and backward passes, and the pipeline drains.
"""

import placer
import placer.plot

instance = placer.load("../../data/gpt_pipeline.json")
result = placer.solve(instance, recompute="auto")
run = placer.simulate(instance, result, microbatches=8)
print(f"8 microbatches take {run.makespan_ms:.1f} ms, of which {run.fill_ms:.1f} ms fill the pipeline")

figure = placer.plot.timeline(result, instance)
