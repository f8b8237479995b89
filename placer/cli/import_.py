"""``placer import``."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal, Protocol, cast

from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Ticking
from placer.errors import UsageError
from placer.formats import native
from placer.formats.files import save
from placer.formats.text import check_writable
from placer.imports.api import GraphOptions, ImportOptions, import_onnx, import_pipedream, import_torch
from placer.imports.language_api import LanguageOptions, import_gguf, import_hf
from placer.imports.onnx_shapes.dims import parse_dims, parse_passes, parse_values
from placer.instance.instance import Instance

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    kind: str
    source: str
    devices: str
    out: str | None
    name: str | None
    by: str | None
    dim: list[str]
    value: list[str]
    passes: list[str]
    external_data: bool
    run: bool
    precision: str | None
    profile: list[str]
    tied: Literal["copy", "colocate"]
    reserve: float | None
    allow_uncosted: list[str]
    quiet: bool
    training: bool | None
    optimizer: str | None
    microbatches: int
    phase: str | None
    batch: int | None
    sequence: int | None
    concurrency: int | None
    cache: str | None
    logits: Literal["all", "last"] | None
    weights: str | None
    shards: tuple[int, ...] | None
    sequence_parallel: bool | None
    attention: str | None


def run(args: Arguments) -> ExitCode:
    """Make an instance of a model."""
    if args.out:
        check_writable(args.out, *_inputs(args))
    with redirect_stdout(sys.stderr):  # a model is code, and may print
        instance = _imported(args)
    if not args.quiet and instance.source is not None:
        for note in instance.source.notes:
            print(f"placer: {note}", file=sys.stderr)
    if not args.out:
        sys.stdout.write(native.to_json(instance))
        return ExitCode.DONE
    save(instance, args.out)
    print(_summary(instance, Path(args.out).name))
    return ExitCode.DONE


def _inputs(args: Arguments) -> list[str]:
    """List the files that an import reads, without what is written beside their names."""
    factory, _, _ = args.source.rpartition(":")
    cluster, _, _ = args.devices.rpartition(":")
    profiles = [name for given in args.profile for name in (given, given.partition("=")[2])]
    config = os.path.join(args.source, "config.json") if args.kind == "hf" else args.source
    return [args.source, config, factory, args.devices, cluster, *profiles]


def _options(args: Arguments) -> ImportOptions:
    training = args.training if args.training is not None else args.kind == "pipedream"
    options: ImportOptions = {
        "training": training,
        "optimizer": args.optimizer,
        "microbatches": args.microbatches,
        "profiles": args.profile,
        "tied": args.tied,
        "reserve": args.reserve,
        "allow_uncosted": [op for ops in args.allow_uncosted for op in ops.split(",") if op],
        "name": args.name,
    }
    if args.by is not None:
        options["by"] = args.by
    return options


def _imported(args: Arguments) -> Instance:
    options = _options(args)
    language = _language(args)
    graph: GraphOptions = {
        **options,
        "shards": args.shards or (),
        "sequence_parallel": bool(args.sequence_parallel),
        "attention": args.attention,
    }
    if args.kind == "onnx":
        return import_onnx(
            args.source,
            cluster=args.devices,
            dims=parse_dims(args.dim),
            values=parse_values(args.value),
            passes=parse_passes(args.passes),
            external_data=args.external_data,
            run=args.run,
            precision=args.precision,
            **graph,
        )
    if args.dim or args.value or args.passes or args.external_data:
        raise UsageError(
            "--dim, --value, --passes and --external-data apply to ONNX models; others have their shapes"
        )
    if args.kind == "torch":
        with Ticking(quiet=args.quiet) as watch:
            return import_torch(
                args.source,
                cluster=args.devices,
                precision=args.precision,
                watch=watch,
                **graph,
            )
    if args.kind == "hf":
        return import_hf(
            args.source,
            cluster=args.devices,
            precision=args.precision,
            weights=args.weights,
            work=language,
            **options,
        )
    if args.precision and args.kind == "gguf":
        raise UsageError("--precision does not apply to GGUF: the file says what its weights are")
    if args.kind == "gguf":
        return import_gguf(args.source, cluster=args.devices, work=language, **options)
    if args.precision:
        raise UsageError("--precision does not apply to measured profiles")
    return import_pipedream(args.source, cluster=args.devices, **options)


def _language(args: Arguments) -> LanguageOptions:
    """Collect what a language model is to do; refuse that of others."""
    keys = ["phase", "batch", "sequence", "concurrency", "cache"]
    given = {key: getattr(args, key) for key in keys}
    given["logits"] = None if args.logits is None else args.logits == "all"
    said = {key: value for key, value in given.items() if value is not None}
    kinds: dict[str, tuple[str, ...]]
    kinds = {**dict.fromkeys(said, ("hf", "gguf")), **({"weights": ("hf",)} if args.weights else {})}
    for key, takers in (
        ("attention", ("onnx", "torch", "hf", "gguf")),
        ("shards", ("onnx", "torch", "hf", "gguf")),
        ("sequence_parallel", ("onnx", "torch", "hf", "gguf")),
    ):
        if (value := getattr(args, key)) is not None:
            said[key], kinds[key] = value, takers
    for key, allowed in kinds.items():
        if args.kind not in allowed:
            *others, last = allowed
            of = " and ".join([*filter(None, [", ".join(others)]), last])
            raise UsageError(f"--{key.replace('_', '-')} applies to import {of}")
    return cast(LanguageOptions, said)


def _summary(instance: Instance, file: str) -> str:
    flops = [o.flops for o, back in zip(instance.origin, instance.backward, strict=True) if o and not back]
    weights = instance.weight_bytes.sum() / 1e6
    done = sum(f for f in flops if f is not None) / 1e9
    computed = f", {done:.4g} GFLOPs forward (a multiply-add is 2)" if done else ""
    return (
        f"{file}: {instance.n} nodes, {len(instance.edges)} edges, {weights:.4g} MB of weights{computed}; "
        f"placer solve {file}"
    )
