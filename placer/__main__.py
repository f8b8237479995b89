"""``python -m placer`` and ``placer``: the command line, under a supervisor that keeps the signals.

Nothing heavy is imported before the supervisor is there, and a signal during its own import ends quietly.
"""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line with the arguments of the process; return the exit code."""
    try:
        from placer.signals import supervised
    except KeyboardInterrupt:
        print("placer: interrupted", file=sys.stderr)
        return 130
    return supervised(_work)


def _work() -> int:
    from placer.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
