"""The code in README.md, in the pages of docs/ and in its notebooks.

Blocks marked ``sh``, ``console`` and ``python`` are run, one after another, in a folder that a page has for
itself.  A comment on the line above a block says what else holds of it, several things with semicolons:

``<!-- not run: REASON -->``   it cannot run in the tests
``<!-- full -->``              it runs only where everything is tested (``make test-all``)
``<!-- needs torch, onnx -->`` it runs where these can be imported
``<!-- exit code 3 -->``       its last command ends with this code
``<!-- file: NAME -->``        it is what a file holds that later blocks use (in any language)
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ("sh", "console", "python")
SHOWN = ("json", "text", "toml", "bibtex", "{")
"""Languages that nobody runs; Sphinx's own directives begin with a brace."""
FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<language>\S*)")
COMMENT = re.compile(r"^<!-- (.*) -->$")


@dataclass(frozen=True)
class Block:
    """A piece of code on a page."""

    page: str
    line: int
    language: str
    text: str
    why_not: str = ""
    full: bool = False
    needs: tuple[str, ...] = ()
    exit_code: int = 0
    file: str = ""

    @property
    def where(self) -> str:
        """Where it stands, as editors read it."""
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether some test runs it."""
        return (self.language in RUN or bool(self.file)) and not self.why_not


def pages() -> list[str]:
    """All pages, relative to the root."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    skipped = {"_generated", "_gallery", ".ipynb_checkpoints"}
    return sorted(str(path.relative_to(ROOT)) for path in found if not skipped & set(path.parts))


def blocks(page: str) -> list[Block]:
    """Read the blocks of a page in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return list(_of_notebook(page, text) if page.endswith(".ipynb") else _of_markdown(page, text))


def _of_notebook(page: str, text: str) -> Iterator[Block]:
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        if cell["cell_type"] == "code":
            yield Block(page, number, "python", "".join(cell["source"]), full=True)


def _of_markdown(page: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        first = number + 1
        if opening:
            fence = opening["fence"]
            number = first
            while lines[number].rstrip() != fence:
                number += 1
            inside = "\n".join(lines[first:number]) + "\n"
            if fence[0] == "`":
                marks = COMMENT.match(lines[first - 2]) if first > 1 else None
                yield Block(page, first, opening["language"], inside, **_marks(marks[1] if marks else ""))
        number += 1


def _marks(text: str) -> dict[str, object]:
    if text.startswith("not run: "):
        return {"why_not": text.removeprefix("not run: ")}
    found: dict[str, object] = {}
    for mark in filter(None, (part.strip() for part in text.split(";"))):
        if mark == "full":
            found["full"] = True
        elif given := re.fullmatch(r"needs (.+)", mark):
            found["needs"] = tuple(name.strip() for name in given[1].split(","))
        elif given := re.fullmatch(r"exit code (\d+)", mark):
            found["exit_code"] = int(given[1])
        elif given := re.fullmatch(r"file: (\S+)", mark):
            found["file"] = given[1]
        else:
            raise ValueError(f"unknown mark: {mark}")
    return found
