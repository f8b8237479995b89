"""Proofs on graphs that nothing was tuned for: ``python -m tests.benchmarks.proofs``.

Some 160 graphs, each with a cluster of its own, fixed by their names: generated families, networks by
formulas, imported models and, where they are there, the shared workloads.  Constants may be chosen on the
half called ``tuning``; ``validation`` tells whether that helped.  Other programs take part where they are
installed.
"""
