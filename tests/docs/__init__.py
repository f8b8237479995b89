"""What README.md and docs/ show is true: their commands run and print what stands there.

`blocks` reads the code of a page, `run` runs it; ``python -m tests.docs`` counts it.
"""
