"""One self-contained HTML document: template, styles, scripts and data in one file that asks for nothing.

The content security policy allows exactly the style sheet and the script that the document carries, by
their hashes, and no connection at all.  Templates escape everything; data are JSON in which ``<``, ``>``,
``&``, ``'`` and all characters beyond ASCII are escaped, so that no text of an instance can end a script.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from placer import units
from placer.objectives import OBJECTIVES
from placer.options import Objective

__all__ = ["asset", "macro", "render"]


def render(template: str, *, scripts: tuple[str, ...], devices: int = 0, **context: Any) -> str:
    """Fill a template with a context.

    Parameters
    ----------
    template
        File name under ``templates``.
    scripts
        Files under ``assets``, in order; they become one inline script.
    devices
        Number of devices that need a colour.
    **context
        What the template shows.

    Returns
    -------
    str
        The document.
    """
    style = asset("page.css") + _device_colours(devices)
    script = "".join(asset(name) for name in scripts)
    policy = (
        "default-src 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    # The style sheet and the script are files of this package: the only text that is not escaped.
    return (
        _environment()
        .get_template(template)
        .render(policy=policy, style=Markup(style), script=Markup(script), **context)
    )


def macro(template: str, name: str, *arguments: Any) -> str:
    """Call a macro of a template: a fragment of HTML, escaped like a document."""
    return str(getattr(_environment().get_template(template).module, name)(*arguments))


@cache
def asset(name: str) -> str:
    """Text of a file under ``assets``."""
    return files("placer.pages").joinpath("assets", name).read_text(encoding="utf-8")


def objective_text(value: float, objective: Objective) -> str:
    """Objective or bound with its unit."""
    info = OBJECTIVES[objective]
    return units.milliseconds(value) if info.is_time else info.shown(value, 4)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("placer.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["ms"] = units.milliseconds
    environment.filters["of"] = objective_text
    environment.globals["objectives"] = OBJECTIVES
    environment.filters["gap"] = units.gap
    environment.filters["percent"] = units.percent
    environment.filters["size"] = units.size
    return environment


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


HUES = (212, 28, 150, 330, 262, 186, 52, 4, 96, 290)
"""Hues of the first devices, in degrees: well apart, also between neighbours."""
GOLDEN_ANGLE = 137.508


def _device_colours(count: int) -> str:
    """Style rules that give each device its hue; the style sheet makes colours of it for each scheme."""
    hues = [HUES[i] if i < len(HUES) else round(i * GOLDEN_ANGLE % 360) for i in range(count)]
    return "".join(f".d{i}{{--hue:{hue}}}\n" for i, hue in enumerate(hues))
