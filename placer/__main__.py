"""``python -m placer`` and ``placer``: the command line, under a supervisor that keeps the signals.

Nothing heavy is imported before the supervisor is there.
"""

import sys

from placer.signals import supervised

__all__ = ["main"]


def main() -> int:
    """Run the command line with the arguments of the process; return the exit code."""
    return supervised(_work)


def _work() -> int:
    from placer.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
