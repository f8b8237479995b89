"""How many bytes weights take in a number format, scales and zero points included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from placer.choices import none_of
from placer.errors import InputError, UsageError

__all__ = ["FORMATS", "PLAIN", "Quantisation", "WeightFormat", "quantisation_of", "weight_format"]


@dataclass(frozen=True)
class WeightFormat:
    """A number format of matrices.

    Parameters
    ----------
    name
        What it is called.
    bits
        Bits per weight.
    scales
        ``(rows, columns, bytes)``: what each tile of so many outputs and inputs has beside its weights; None
        for all of them.
    """

    name: str
    bits: float
    scales: tuple[tuple[int | None, int | None, float], ...] = ()

    def size_bytes(self, shape: tuple[int, ...]) -> float:
        """Size of a matrix ``(outputs, inputs)``, or of a stack of them."""
        rows, columns = shape[-2:]
        tiles = sum(
            ceil(rows / (r or rows)) * ceil(columns / (c or columns)) * extra for r, c, extra in self.scales
        )
        return prod(shape[:-2]) * (rows * columns * self.bits / 8 + tiles)


PLAIN = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0}
"""Bytes per number of formats without scales."""

FORMATS = {
    **{name: WeightFormat(name, 8 * size) for name, size in PLAIN.items()},
    "fp8": WeightFormat("fp8", 8, ((1, None, 4),)),
    "int8": WeightFormat("int8", 8, ((1, None, 4),)),
    "int4": WeightFormat("int4", 4, ((1, 128, 2.5),)),
    "nf4": WeightFormat("nf4", 4, ((1, 64, 4),)),
    "mxfp4": WeightFormat("mxfp4", 4, ((1, 32, 1),)),
    "nvfp4": WeightFormat("nvfp4", 4, ((1, 16, 1), (None, None, 4))),
}
"""Formats by name: a 4-byte scale per output (fp8, int8), a 2-byte scale and a zero point per 128 inputs
(int4, as in AWQ), a 4-byte scale per 64 (nf4), a 1-byte scale per 32 (mxfp4) or 16 (nvfp4)."""

NOT_CONVERTED = ("lm_head", "embed_out", "output_layer")
"""Modules that quantisers leave as they are unless told otherwise."""


@dataclass(frozen=True)
class Quantisation:
    """Which format the matrices of a model have.

    Parameters
    ----------
    format
        That of matrices inside layers.
    kept
        Patterns of modules that are not converted.
    """

    format: WeightFormat
    kept: tuple[re.Pattern[str], ...] = ()

    def converts(self, module: str) -> bool:
        """Whether a module's matrix has the format."""
        return not any(pattern.search(module) for pattern in self.kept)


def weight_format(name: str) -> WeightFormat:
    """Find a format.

    Raises
    ------
    UsageError
        Naming those there are.
    """
    if name not in FORMATS:
        raise UsageError(none_of("weight format", name, FORMATS))
    return FORMATS[name]


def quantisation_of(document: Mapping[str, Any]) -> Quantisation:
    """Read a ``quantization_config``.

    Raises
    ------
    InputError
        When the method is not known, or what it says cannot be read.
    """
    method = str(document.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in document else ""))
    reader = METHODS.get(method.replace("_", "-"))
    if reader is None:
        raise InputError(
            f"the quantisation {method!r:.60} is not known (--weights FORMAT says what to count)",
            place="quantization_config",
        )
    try:
        made = reader(document)
        sound = 0 < made.bits <= 32 and all((n or 1) >= 1 for r, c, _ in made.scales for n in (r, c))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, ZeroDivisionError):
        raise InputError(f"this is no {method} quantisation", place="quantization_config") from None
    if not sound:
        raise InputError(f"this is no {method} quantisation", place="quantization_config")
    lists = [given for key in KEPT if isinstance(given := document.get(key), list)]
    named = [name for given in lists for name in given if isinstance(name, str)]
    return Quantisation(made, tuple(_pattern(name) for name in (*NOT_CONVERTED, *named)))


KEPT = (
    "modules_to_not_convert",
    "ignored_layers",
    "ignore",
    "llm_int8_skip_modules",
    "exclude_modules",
)
SLOW = re.compile(r"[+{]|[)\]][*?]|(?:\*.*){5}")
"""Expressions that may take for ever: repeated groups, or many repetitions."""


def _pattern(name: str) -> re.Pattern[str]:
    """Compile the name of a module, with or without the path before it, or an expression."""
    if name.startswith("re:"):
        if SLOW.search(name) or len(name) > 200:
            raise InputError(f"too intricate an expression: {name[3:]!r}", place="quantization_config")
        try:
            return re.compile(name[3:])
        except re.error:
            raise InputError(f"no regular expression: {name[3:]!r}", place="quantization_config") from None
    bare = name.removeprefix("language_model.").removeprefix("model.language_model.").strip(".")
    return re.compile(rf"(?:^|\.){re.escape(bare).replace(re.escape('*'), '.*')}(?:\.|$)")


def _fp8(document: Mapping[str, Any]) -> WeightFormat:
    rows, columns = document.get("weight_block_size") or (None, None)
    return WeightFormat("fp8", 8, ((rows, columns, 4),))


def _gptq(document: Mapping[str, Any]) -> WeightFormat:
    bits = int(document["bits"])
    return WeightFormat(f"int{bits}", bits, ((1, _group(document), 2 + bits / 8), (None, 1, 4)))


def _awq(document: Mapping[str, Any]) -> WeightFormat:
    bits = int(document.get("bits", document.get("w_bit", 4)))
    return WeightFormat(f"int{bits}", bits, ((1, _group(document), 2 + bits / 8),))


def _group(document: Mapping[str, Any]) -> int | None:
    size = int(document.get("group_size", document.get("q_group_size", 128)))
    return None if size == -1 else size


def _bitsandbytes(document: Mapping[str, Any]) -> WeightFormat:
    if document.get("load_in_8bit"):
        return FORMATS["int8"]
    # Absolute maxima of 64 weights each; quantised again, they take a byte and a number per 256 of them.
    scale = 1 + 4 / 256 if document.get("bnb_4bit_use_double_quant") else 4
    return WeightFormat(str(document.get("bnb_4bit_quant_type", "fp4")), 4, ((1, 64, scale),))


def _compressed(document: Mapping[str, Any]) -> WeightFormat:
    groups = [group["weights"] for group in document["config_groups"].values() if group.get("weights")]
    if any(group != groups[0] for group in groups):
        raise InputError(
            "groups of different formats are not counted (--weights FORMAT says what to count)",
            place="quantization_config",
        )
    weights = groups[0]
    bits, strategy = int(weights["num_bits"]), weights.get("strategy")
    if weights.get("type") == "float" and bits == 4:
        return FORMATS["nvfp4" if weights.get("group_size") == 16 else "mxfp4"]
    block = weights.get("block_structure") or (128, 128)
    tiles = {
        "tensor": (None, None, 4.0),
        "channel": (1, None, 2.0),
        "group": (1, _group(weights), 2.0),
        "block": (block[0], block[1], 4.0),
    }
    return WeightFormat(
        f"{'fp' if weights.get('type') == 'float' else 'int'}{bits}", bits, (tiles[strategy],)
    )


def _modelopt(document: Mapping[str, Any]) -> WeightFormat:
    names = {"FP8": WeightFormat("fp8", 8, ((None, None, 4),)), "NVFP4": FORMATS["nvfp4"]}
    return names[str(document.get("quant_algo") or document["quantization"]["quant_algo"])]


METHODS = {
    "fp8": _fp8,
    "fbgemm-fp8": lambda _: FORMATS["fp8"],
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": lambda _: FORMATS["mxfp4"],
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
}
