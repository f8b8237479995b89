"""The role ``{src}`path/of/a/file.py```: a link to a page that shows the file."""

from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".py": "python", ".pxd": "cython", ".toml": "toml", ".json": "json", ".txt": "text"}
logger = logging.getLogger(__name__)


class Source(SphinxRole):
    """Links to a file of the project, or complains that there is none."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Make the link."""
        path = ROOT / self.text
        if not path.is_file():
            logger.warning("there is no file %s", self.text, location=self.get_location())
        self.env.metadata[self.env.docname].setdefault("sources", []).append(self.text)
        up = "../" * self.env.docname.count("/")
        shown = nodes.literal(text=self.text)
        return [nodes.reference("", "", shown, refuri=f"{up}code/{self.text}.html", internal=True)], []


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Make a page of every file that is linked to."""
    linked = {name for found in app.env.metadata.values() for name in found.get("sources", ())}
    for name in sorted(linked):
        path = ROOT / name
        if path.is_file():
            code = app.builder.highlighter.highlight_block(
                path.read_text(encoding="utf-8"), LANGUAGES.get(path.suffix, "text"), linenos=False
            )
            yield f"code/{name}", {"title": name, "body": f"<h1>{name}</h1>{code}"}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role."""
    app.add_role("src", Source())
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
