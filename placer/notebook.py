"""What shows itself in a notebook; the views are imported when they are asked for."""

from __future__ import annotations

from importlib import import_module

__all__ = ["Shown"]

VIEWS = {
    "Instance": "placer.pages.notebook_views:instance_html",
    "Result": "placer.pages.notebook_views:result_html",
}
"""``"module:function"`` of the view of each class."""


class Shown:
    """Shows itself in a notebook."""

    def _repr_html_(self) -> str:
        module, function = VIEWS[type(self).__name__].split(":")
        return str(getattr(import_module(module), function)(self))
