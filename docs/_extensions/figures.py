"""The picture that a script of the gallery leaves in ``figure``, which need not be known to pyplot."""

from typing import Any

from matplotlib import pyplot as plt
from sphinx_gallery.scrapers import figure_rst

__all__ = ["keep"]


def keep(block: tuple[str, str, int], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the picture of a block of code, once, and say where it is to be shown."""
    figure = block_vars["example_globals"].pop("figure", None)
    if figure is None:
        return ""
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=110)
    plt.close("all")
    title = block_vars["src_file"].rpartition("plot_")[2].removesuffix(".py").replace("_", " ")
    return str(figure_rst([path], gallery_conf["src_dir"], fig_titles=title))
