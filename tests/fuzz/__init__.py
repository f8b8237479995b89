"""An adversarial random search: tiny instances with any features at once, judged by an oracle of its own.

``python -m tests.fuzz --count 1000 --first 0`` makes an instance for each seed, solves it by methods drawn at
random and compares everything with what `oracle` finds by trying all plans.  A seed names a case for ever.
"""
