"""Commands whose libraries write natively to file descriptor 1, at once and held back by the C library."""

import ctypes
import os
import subprocess
import sys
from importlib import import_module

import placer.cli

NOISE = "noise of a library"


def make_noise() -> None:
    """Write as a library in C does, and as a program does that a library starts."""
    os.write(1, f"{NOISE}, written\n".encode())
    ctypes.CDLL(None).puts(f"{NOISE}, held back".encode())
    subprocess.run(["echo", f"{NOISE}, of a child"], check=True)


class _Noisy:
    """A command that makes noise before and after."""

    def __init__(self, command):
        self._command = command

    def run(self, args):
        make_noise()
        code = self._command.run(args)
        make_noise()
        return code


def noisy(name: str):
    """Import a command for `placer.cli`; every command makes noise."""
    module = import_module(name)
    return _Noisy(module) if name.startswith("placer.cli.") else module


if __name__ == "__main__":
    placer.cli.import_module = noisy
    sys.exit(placer.cli.main())
