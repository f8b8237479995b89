"""Models from elsewhere, each imported, counted again, planned, exported and run: the zoo.

``python -m tests.zoo --out docs/zoo.md`` makes its table.
"""
