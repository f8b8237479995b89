"""``placer profile``."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np

from placer.cli.exit_codes import ExitCode
from placer.errors import InputError
from placer.formats.text import check_writable, write_text
from placer.imports.measure import profile_onnx
from placer.imports.onnx_shapes.dims import parse_dims
from placer.imports.profiles import times_to_csv

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    kind: str
    source: str
    out: str | None
    dim: list[str]
    type: str
    input: str | None
    repeats: int
    warmup: int
    threads: int
    seed: int


def run(args: Arguments) -> ExitCode:
    """Measure the operators of a model on this machine."""
    if args.out:
        check_writable(args.out, args.source, args.input)
    measured = profile_onnx(
        args.source,
        dims=parse_dims(args.dim),
        inputs=_arrays(args.input) if args.input else None,
        repeats=args.repeats,
        warmup=args.warmup,
        threads=args.threads,
        seed=args.seed,
    )
    text = times_to_csv(measured, args.type)
    if not args.out:
        sys.stdout.write(text)
        return ExitCode.DONE
    write_text(args.out, text)
    print(f"{args.out}: {len(measured)} operators, {sum(measured.values()):.4g} ms in all")
    return ExitCode.DONE


def _arrays(path: str) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:  # data only: a pickle could run code
            return dict(arrays)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"not a .npz file of arrays: {error}", source=path) from None
