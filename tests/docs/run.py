"""Running the blocks of a page, in a folder of its own, as somebody would who follows it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.docs.blocks import ROOT, Block

SECONDS = 300
"""Longest time of a block."""
LINKED = ("data", "docs", "formulations", "placer", "tests")
"""What pages use of the project, under the same names."""
COLUMNS = "110"
"""Width of the terminal that what pages show was printed on."""


def prepare(folder: Path) -> None:
    """Lay out a folder in which commands of a page run as in the root of the project."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    for name, command in (("placer", "-m placer"), ("python", "")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (folder / "bin" / name).chmod(0o755)


def run(block: Block, folder: Path, names: dict[str, object]) -> None:
    """Run a block; what fails or prints something else than the page says is an assertion.

    Parameters
    ----------
    block
        The block.
    folder
        Its page's folder, which is the working directory.
    names
        What the Python blocks before it have defined.
    """
    if block.file:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile("\n" * block.line + block.text, ROOT / block.page, "exec"), names)
    elif block.language == "sh":
        _command(block, block.text, folder, block.exit_code)
    else:
        commands = list(_session(block.text))
        for number, (command, shown) in enumerate(commands, 1):
            printed = _command(block, command, folder, block.exit_code if number == len(commands) else 0)
            missing = _missing(shown, printed)
            assert missing is None, f"{block.where}: {command} does not print\n{missing}\nbut\n{printed}"


def _command(block: Block, text: str, folder: Path, expected: int) -> str:
    """Run commands in a shell and return what they print."""
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": COLUMNS,
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == expected, f"{block.where}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def _session(text: str) -> Iterator[tuple[str, list[str]]]:
    """Split what a terminal shows into commands and what each printed."""
    command, shown = "", []
    for line in text.splitlines():
        if line.startswith("$ ") or command.endswith("\\"):
            if command.endswith("\\"):
                command += f"\n{line}"
                continue
            if command:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
        else:
            shown.append(line)
    if command:
        yield command, shown


def _missing(shown: Iterable[str], printed: str) -> str | None:
    """Find the first line shown that was not printed, in this order; ``...`` stands for any lines."""
    rest = iter(_plain(printed.splitlines()))
    for line, plain in zip(shown, _plain(shown), strict=True):
        if plain and line.strip() != "..." and not any(plain == other for other in rest):
            return line
    return None


def _plain(lines: Iterable[str]) -> list[str]:
    """Leave out what differs from run to run, times that something took, and how wide tables are."""
    found, times = [], set()
    for line in lines:
        cells = [cell.strip() for cell in re.split("[│┃]", line)]
        if "┃" in line and not re.search("[┏┡]", line):
            times |= {number for number, cell in enumerate(cells) if cell in ("seconds", "s")}
        if len(cells) > 1:
            cells = [cell for number, cell in enumerate(cells) if number not in times]
        text = re.sub(r"\b\d+(\.\d+)? s\b", "# s", " | ".join(cells))
        found.append(re.sub(r"([━─]+[^\w|]*)+", "-", " ".join(text.split())))
    return found
