"""``placer profile``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any, Protocol

import numpy as np

from placer.cli.exit_codes import ExitCode
from placer.errors import InputError, UsageError
from placer.formats.text import check_writable, write_text
from placer.imports.onnx_shapes.dims import parse_dims
from placer.imports.profiles import BACKWARD, times_to_csv
from placer.units import size

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    kind: str
    source: str | None
    out: str | None
    dim: list[str]
    type: str | None
    input: str | None
    device: str
    by: str
    backward: bool
    repeats: int
    warmup: int
    threads: int
    seed: int


def run(args: Arguments) -> ExitCode:
    """Measure a model or the links on this machine."""
    if (args.source is None) != (args.kind == "links"):
        raise UsageError("links are of this machine: no model is given" if args.source else "which model?")
    if args.out:
        check_writable(args.out, args.source, args.input)
    text, said = {"onnx": _onnx, "torch": _torch, "links": _links}[args.kind](args)
    if not args.out:
        sys.stdout.write(text)
        print(said, file=sys.stderr)
        return ExitCode.DONE
    write_text(args.out, text)
    print(f"{args.out}: {said}")
    return ExitCode.DONE


def _onnx(args: Arguments) -> tuple[str, str]:
    from placer.measuring.onnx_kernels import profile_onnx

    measured = profile_onnx(
        str(args.source),
        dims=parse_dims(args.dim),
        inputs=_arrays(args.input) if args.input else None,
        repeats=args.repeats,
        warmup=args.warmup,
        threads=args.threads,
        seed=args.seed,
    )
    return (
        times_to_csv(measured, args.type or "cpu-core"),
        f"{len(measured)} operators, {sum(measured.values()):.4g} ms in all",
    )


def _torch(args: Arguments) -> tuple[str, str]:
    from placer.measuring.torch_profile import profile_torch

    if args.type is None and args.device != "cpu":
        raise UsageError(f"say which device of the catalogue {args.device} is: --type, such as --type a100")
    with redirect_stdout(sys.stderr):  # a model is code, and may print
        found = profile_torch(
            str(args.source),
            device=args.device,
            backward=args.backward,
            repeats=args.repeats,
            warmup=args.warmup,
            threads=args.threads,
            seed=args.seed,
        )
    behind = sum(ms for name, ms in found.ms.items() if name.endswith(BACKWARD))
    ahead = sum(found.ms.values()) - behind
    said = (
        f"{len(found.modules)} operators, forward {ahead:.4g} ms ({found.forward_ms:.4g} ms as a whole, "
        f"at most {size(found.forward_bytes)} of activations)"
    )
    if found.training_ms is not None and found.training_bytes is not None:
        said += (
            f"; with backward {ahead + behind:.4g} ms ({found.training_ms:.4g} ms as a whole, at most "
            f"{size(found.training_bytes)} of activations and gradients)"
        )
    return times_to_csv(found.by_module() if args.by == "module" else found.ms, args.type or "cpu-core"), said


def _links(args: Arguments) -> tuple[str, str]:
    from placer.imports.catalogue import entry_toml
    from placer.measuring.copies import measure_links

    found = measure_links(args.device, repeats=args.repeats)
    said = "; ".join(
        f"{name} {link.gb_per_s:.4g} GB/s, {link.latency_ms:.3g} ms" for name, link in found.items()
    )
    return "\n".join(entry_toml("links", name, link) for name, link in found.items()), said


def _arrays(path: str) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:  # data only: a pickle could run code
            return dict(arrays)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"not a .npz file of arrays: {error}", source=path) from None
