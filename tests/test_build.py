"""Kernels are compiled when the package is built, never later; without a C compiler they run as they are."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from placer.kernels import INTERPRETED
from placer.methods.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
COMPILERS = ("numba", "llvmlite", "Cython", "pyximport", "cffi")


def run(*arguments: str, root: Path = ROOT, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root), **more}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_nothing_is_compiled_in_front_of_the_user():
    script = f"""
import sys
import placer
for objective, file in (("throughput", "textbook"), ("latency", "latency")):
    instance = placer.load(f"data/{{file}}.json")
    for method in {sorted(METHODS)!r}:
        if method not in ("partition", "expert"):
            try:
                placer.solve(instance, method=method, objective=objective, time_limit=20)
            except placer.UsageError:
                pass  # not for this objective
print(sorted(set(sys.modules) & set({COMPILERS!r})))
"""
    assert run("-c", script).split() == ["[]"]


@pytest.mark.slow
def test_without_a_c_compiler(tmp_path):
    for part in ("placer", "formulations", "data"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path)
    run("setup.py", "--quiet", "build_ext", "--inplace", root=tmp_path, CC="no-such-compiler")
    assert not list(tmp_path.rglob("*.so"))
    for method in ("dp", "local-search"):
        solved = run(
            "-m",
            "placer",
            "solve",
            "data/textbook.json",
            "--method",
            method,
            "--json",
            "--quiet",
            root=tmp_path,
        )
        result = json.loads(solved)
        assert result["objective"] == pytest.approx(10.0)
        assert result["hints"] == [INTERPRETED]
