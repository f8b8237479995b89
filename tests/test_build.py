"""Kernels are compiled when the package is built, never later; without a C compiler they run as they are."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
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


def test_what_a_short_search_does_not_wait_for():
    """Importing these takes as long as the search."""
    script = """
import sys
from placer.cli import main
assert main(["solve", "data/textbook.json", "--quiet"]) == 0
slow = {"networkx", "pulp", "highspy", "jinja2", "simpy", "numpy.ma", "placer.studies"}
print("imported:", sorted(slow & set(sys.modules)))
"""
    assert run("-c", script).splitlines()[-1] == "imported: []"


def sources(folder: Path) -> Path:
    """Copy what a fresh checkout has of the library."""
    for part in ("placer", "formulations", "data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    return folder


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution(tmp_path):
    """It holds every kernel compiled and no folder of the machine that built it, and it solves."""
    checkout = sources(tmp_path / "checkout")
    run("setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path), root=checkout)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path)  # it was made here, and 3.11.2 has no filters yet
    unpacked = archive.with_suffix("").with_suffix("")
    pip = ("-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(*pip, "--wheel-dir", str(tmp_path), root=unpacked)
    (wheel,) = tmp_path.glob("*-cp311-abi3-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        file.extractall(site)
    assert not [name for name in names if name.endswith(".c") or name.startswith(("/", ".."))]
    kernels = {str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.glob("placer/**/*.pxd")}
    libraries = [path for path in site.rglob("*") if path.suffix in (".so", ".pyd")]
    compiled = {str(path.relative_to(site)).split(".")[0] for path in libraries}
    assert compiled == kernels | {"placer/methods/memoryviews"}
    assert not [path for path in libraries if str(tmp_path).encode() in path.read_bytes()]
    solve = ("-m", "placer", "solve", str(ROOT / "data/textbook.json"), "--method", "dp", "--json", "--quiet")
    result = json.loads(run(*solve, root=site))
    assert result["objective"] == pytest.approx(10.0)
    assert result["hints"] == []


@pytest.mark.slow
def test_without_a_c_compiler(tmp_path):
    sources(tmp_path)
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
