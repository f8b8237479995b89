"""The command line: parses, dispatches, and turns every failure into one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from keyword import iskeyword

from placer.cli.arguments import parse
from placer.cli.exit_codes import ExitCode
from placer.cli.output import named, results_apart
from placer.errors import InputError, PlacerError, UsageError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program name; those of the process when None.

    Returns
    -------
    int
        The exit code.
    """
    with results_apart():
        args = parse(argv)
        if "out" in args:
            args.out = named(args.out)
        with _logs_shown() if args.debug else nullcontext():
            return _run(args)


def _run(args: argparse.Namespace) -> int:
    """Run a command and turn every failure into one line and an exit code."""
    try:
        command = import_module(f"placer.cli.{_module(args.command)}")
        code = int(command.run(args))
        sys.stdout.flush()
    except (InputError, UsageError) as error:
        return _complain(str(error), ExitCode.BAD_INPUT)
    except PlacerError as error:
        return _complain(f"internal error, please report it: {error}", ExitCode.INTERNAL)
    except KeyboardInterrupt:
        return _complain("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _complain(f"{name}{error.strerror or error}", ExitCode.BAD_INPUT)
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        return _complain(
            f"internal error, please report it: {type(error).__name__}: {error} (--debug shows where)",
            ExitCode.INTERNAL,
        )
    return code


@contextmanager
def _logs_shown() -> Iterator[None]:
    """Show what the library logs; otherwise nobody sees it (see ``placer/__init__``)."""
    logger, handler = logging.getLogger("placer"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _module(command: str) -> str:
    """Name the module of a command; a keyword, such as import, gets an underscore."""
    return f"{command}_" if iskeyword(command) else command


def _complain(message: str, code: ExitCode) -> int:
    print(f"placer: {' '.join(message.split())}", file=sys.stderr)
    return code
