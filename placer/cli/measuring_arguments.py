"""Arguments of ``placer profile`` and ``placer calibrate``."""

from __future__ import annotations

import argparse

from placer.cli.import_arguments import add_dim
from placer.cli.output import Command, unless_standard_output

__all__ = ["add_calibrate", "add_profile"]

PROFILE = """\
examples:
  placer profile onnx model.onnx --out times.csv
  placer profile torch mine.py:make --out times.csv              forward and backward, on one core
  placer profile torch mine.py:make --device cuda --type a100 --by module --out times.csv
  placer profile links --out links.toml                          copies through shared memory
  placer profile links --device cuda                             between this machine's GPUs and its memory
"""
CALIBRATE = """\
examples:
  placer profile onnx light:squeezenet --out times.csv
  placer calibrate cpu-core --onnx light:squeezenet=times.csv --out mine.toml
  placer import onnx other.onnx --devices mine.toml:4xcpu-core --out graph.json
"""


def add_profile(command: Command) -> None:
    """Add ``placer profile``."""
    made = command(epilog=PROFILE)
    made.add_argument("kind", choices=("onnx", "torch", "links"), help="what is measured")
    made.add_argument(
        "source",
        metavar="MODEL",
        nargs="?",
        help="an ONNX file or light:NAME; MODULE:FACTORY or FILE.py:FACTORY",
    )
    made.add_argument(
        "--out",
        type=unless_standard_output,
        metavar="FILE",
        help="write times (CSV) or links (TOML) to this file (default, or -: to standard output)",
    )
    made.add_argument("--type", help="device type to write down (default on processors: cpu-core)")
    for name, default, what in (
        ("repeats", 20, "runs of which the median counts"),
        ("warmup", 3, "runs before them"),
        ("threads", 1, "threads of the runtime"),
        ("seed", 0, "of random inputs and weights"),
    ):
        made.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default: {default})"
        )
    onnx = made.add_argument_group("ONNX models, under ONNX Runtime")
    add_dim(onnx)
    onnx.add_argument("--input", metavar="FILE.npz", help="arrays by input name (default: random ones)")
    torch = made.add_argument_group("PyTorch models, and links")
    torch.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    torch.add_argument(
        "--by",
        choices=("operator", "module"),
        default="operator",
        help="rows of the table; modules keep their names across versions of torch (default: operator)",
    )
    torch.add_argument(
        "--backward",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the backward pass too (default: yes)",
    )


def add_calibrate(command: Command) -> None:
    """Add ``placer calibrate``."""
    made = command(epilog=CALIBRATE)
    made.add_argument("device", metavar="DEVICE", help="a device of the catalogue, or FILE.toml:NAME")
    for kind, what in (("onnx", "ONNX model"), ("torch", "PyTorch factory")):
        made.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar="MODEL=TIMES.csv",
            help=f"{what} with the times that placer profile measured (repeatable)",
        )
    add_dim(made)
    made.add_argument("--precision", help="number format of floating-point tensors (default: the model's)")
    made.add_argument(
        "--out",
        type=unless_standard_output,
        metavar="DEVICE.toml",
        help="write the device to this file (default, or -: to standard output)",
    )
