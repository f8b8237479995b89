"""Follow every link of the built pages that leads to one of them: page, picture or section.

usage: links.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The addresses that a page asks for, and the sections that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.wanted: list[str] = []
        self.sections: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to and how it is called."""
        given = dict(attrs)
        self.sections |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag != "link" or given.get("rel") in ("stylesheet", "next", "prev"):
            self.wanted += [value for name in ("href", "src") if (value := given.get(name))]


def dead(folder: Path) -> list[str]:
    """List links that lead nowhere, as ``page: link``."""
    pages = {
        path.resolve(): Page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts
    }
    found = []
    for path, page in pages.items():
        for link in page.wanted:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            there = target.is_file() and (
                not fragment or target not in pages or fragment in pages[target].sections
            )
            if not there:
                found.append(f"{path.relative_to(folder.resolve())}: {link}")
    return found


def main(folder: str) -> None:
    """Print the dead links; any is a failure."""
    found = dead(Path(folder))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise SystemExit(f"{len(found)} dead links")


if __name__ == "__main__":
    main(*sys.argv[1:])
