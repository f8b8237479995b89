"""``placer calibrate``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import stdout
from placer.errors import UsageError
from placer.formats.text import check_writable, write_text
from placer.imports.catalogue import Cluster, DeviceEntry, entry_toml, find_device
from placer.imports.gradients import backward_pass
from placer.imports.model import Model
from placer.imports.onnx_shapes.dims import parse_dims
from placer.imports.profiles import read_profiles
from placer.measuring.calibration import Calibration, Deviation, Measured, calibrate, measured

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    device: str
    onnx: list[str]
    torch: list[str]
    dim: list[str]
    precision: str | None
    out: str | None


def run(args: Arguments) -> ExitCode:
    """Fit a device of the catalogue to measured times."""
    name, entry = find_device(args.device)
    pairs = [(kind, *_pair(kind, text)) for kind in ("onnx", "torch") for text in getattr(args, kind)]
    if not pairs:
        raise UsageError("nothing to fit to: give models with their times, --onnx MODEL=TIMES.csv")
    if args.out:
        check_writable(args.out, *(times for _, _, times in pairs))
    models = [_measured(args, name, entry, kind, model, times) for kind, model, times in pairs]
    found = calibrate(entry, models)
    device = found.device.model_copy(
        update={"source": "calibrated: " + ", ".join(model.name for model in models)}
    )
    (stdout() if args.out else Console(stderr=True)).print(_table(name, models, found))
    if not args.out:
        sys.stdout.write(entry_toml("devices", name, device))
        return ExitCode.DONE
    write_text(args.out, entry_toml("devices", name, device))
    print(f"{args.out}: use it as --devices {args.out}:2x{name}, or in a cluster of that file")
    return ExitCode.DONE


def _pair(kind: str, text: str) -> tuple[str, str]:
    model, equals, times = text.rpartition("=")
    if not (equals and model and times):
        raise UsageError(f"--{kind}: expected MODEL=TIMES.csv, got {text!r}")
    return model, times


def _measured(args: Arguments, name: str, entry: DeviceEntry, kind: str, source: str, times: str) -> Measured:
    cluster = Cluster(name=name, classes=(), types={name: entry})
    profile = read_profiles([f"{name}={times}"], cluster)[0]
    model = _model(args, kind, source)
    return measured(model, backward_pass(model), name, entry, profile)


def _model(args: Arguments, kind: str, source: str) -> Model:
    if kind == "onnx":
        from placer.imports.onnx_model import read_onnx

        return read_onnx(source, dims=parse_dims(args.dim), precision=args.precision)
    from placer.imports.torch_model import read_torch

    with redirect_stdout(sys.stderr):  # a model is code, and may print
        return read_torch(source, precision=args.precision)


def _table(name: str, models: list[Measured], found: Calibration) -> Table:
    d = found.device
    table = Table(
        title=f"{name}: {d.compute_efficiency:.3g} of {d.peak_tflops[models[0].precision]:.4g} TFLOP/s, "
        f"{d.bandwidth_efficiency:.3g} of {d.bandwidth_gb_per_s:.4g} GB/s, {1e3 * d.launch_ms:.3g} µs/kernel",
        caption="modelled against measured: of the whole (of each operator on average, by time)",
        header_style="bold",
    )
    table.add_column("model")
    for heading in ("measured", "before", "after"):
        table.add_column(heading, justify="right")
    for model, before, after in zip(models, found.before, found.after, strict=True):
        table.add_row(Text(model.name), f"{model.ms.sum():.4g} ms", _said(before), _said(after))
    return table


def _said(deviation: Deviation) -> str:
    return f"{100 * deviation.whole:+.1f} % ({100 * deviation.each:.0f} %)"
