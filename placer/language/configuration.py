"""Hugging Face configurations as language models: no weights, no torch, nothing guessed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from placer.choices import close_to
from placer.errors import InputError
from placer.formats.text import parse_json, read_text
from placer.language.decoders import FORMS
from placer.language.families import FAMILIES
from placer.language.forms import blocks
from placer.language.language_model import LanguageModel
from placer.language.quantisation import Quantisation, quantisation_of, weight_format
from placer.language.values import Values

__all__ = ["language_model", "read_configuration"]

DROPOUT = ("resid_pdrop", "hidden_dropout", "hidden_dropout_prob")
"""Keys of the share of numbers that training drops of what attention and MLP return."""
DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "half": "fp16", "float": "fp32"}


def read_configuration(
    path: str | Path, *, precision: str | None = None, weights: str | None = None
) -> LanguageModel:
    """Read a language model from its configuration.

    Parameters
    ----------
    path
        ``config.json``, or the folder that holds it.
    precision
        ``fp32``, ``fp16`` or ``bf16`` for activations, and for weights that are not quantised; that of the
        configuration by default.
    weights
        Format of the matrices in layers (`placer.language.quantisation.FORMATS`); what the configuration says
        by default.

    Raises
    ------
    InputError
        One line that names the file and what is wrong with it.
    UsageError
        When a format is not known.
    """
    file = os.path.join(path, "config.json") if os.path.isdir(path) else str(path)
    document = parse_json(read_text(file), file)
    folder = Path(os.path.abspath(file)).parent.name
    name = Path(file).name.removesuffix(".gz").removesuffix(".json")
    try:
        return language_model(
            document, name=folder if name == "config" else name, precision=precision, weights=weights
        )
    except InputError as error:
        raise error.within(file) from None


def language_model(
    document: Any, *, name: str = "model", precision: str | None = None, weights: str | None = None
) -> LanguageModel:
    """Make a language model of a configuration.

    Parameters
    ----------
    document
        The configuration, as ``json.load`` returns it.
    name
        What to call the model.
    precision, weights
        As for `read_configuration`.

    Raises
    ------
    InputError
        When it is none, or of an architecture that is not known, or lacks sizes.
    UsageError
        When a format is not known.
    """
    if not isinstance(document, dict):
        raise InputError("not a configuration: the top level must be an object")
    text, nested, notes = _text_part(document)
    architecture = text.get("model_type")
    family = FAMILIES.get(architecture) if isinstance(architecture, str) else None
    if not isinstance(architecture, str) or family is None:
        raise InputError(_unknown(architecture, document))
    values = Values(text, family.defaults, family.aliases)
    if not nested:
        # Inside a model of several parts transformers leaves out what equals the defaults.
        values.need(family.needs)
    if values.flag("is_encoder_decoder") or values.flag("add_cross_attention"):
        raise InputError("models with an encoder are not known, only decoders")
    own = text.get("dtype") or text.get("torch_dtype") or document.get("dtype") or document.get("torch_dtype")
    used = precision or _precision(own, notes)
    if own is None and precision is None:
        notes.append("no dtype in the configuration: fp32, as transformers has it (--precision)")
    found = _quantisation(text, document, weights)
    if found is not None:
        notes.append(f"matrices in layers in {found.format.name}, the rest in {used}")
    made = blocks(values, FORMS[architecture](values), found, used)
    extra = values.optional("num_nextn_predict_layers", least=0)
    if extra:
        notes.append(f"{extra} layer{'s' * (extra > 1)} for predicting further tokens (MTP) left out")
    return LanguageModel(
        name=name,
        architecture=architecture,
        blocks=made,
        width=values.number("hidden_size"),
        vocabulary=values.number("vocab_size"),
        precision=used,
        max_tokens=values.optional("max_position_embeddings"),
        notes=tuple(notes),
        dropout=any(isinstance(text.get(key), float) and text[key] > 0 for key in DROPOUT),
    )


def _text_part(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool, list[str]]:
    """Find the language model in a configuration of several parts; say what is left out."""
    text = document.get("text_config", document.get("llm_config"))
    if text is None:
        return document, False, []
    if not isinstance(text, dict):
        raise InputError("expected an object", place="text_config")
    others = sorted(
        key.removesuffix("_config")
        for key, part in document.items()
        if key.endswith("_config") and isinstance(part, dict) and "hidden_size" in part and part is not text
    )
    notes = [f"the language model alone; left out: {', '.join(others)}"] if others else []
    inherited = {key: document[key] for key in ("tie_word_embeddings",) if key in document}
    return inherited | text, True, notes


def _unknown(architecture: object, document: Mapping[str, Any]) -> str:
    if not isinstance(architecture, str):
        return "not a configuration of a model: no model_type"
    close = close_to(architecture, FAMILIES)
    meant = "" if close is None else f" (did you mean {close!r}?)"
    listed = ", ".join(sorted(FAMILIES))
    return f"the architecture {architecture!r:.60} is not known{meant}; known are {listed}"


def _precision(dtype: object, notes: list[str]) -> str:
    if dtype is None:
        return "fp32"
    known = DTYPES.get(str(dtype).removeprefix("torch."))
    if known is None:
        raise InputError(f"the dtype {str(dtype)!r:.40} is not known (--precision)", place="dtype")
    return known


def _quantisation(
    text: Mapping[str, Any], document: Mapping[str, Any], weights: str | None
) -> Quantisation | None:
    if weights is not None:
        return Quantisation(weight_format(weights))
    said = text.get("quantization_config") or document.get("quantization_config")
    if said is None:
        return None
    if not isinstance(said, dict):
        raise InputError("expected an object", place="quantization_config")
    return quantisation_of(said)
