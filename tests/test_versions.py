"""The tested versions cover what is declared, within the bounds that are declared."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [
    Requirement(text)
    for listed in (
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
    )
    for text in listed
]
PINNED = [
    Requirement(line)
    for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def pins(name: str, python: str) -> list[str]:
    """Versions that hold for a package and a Python."""
    return [
        pin.specifier.__str__().removeprefix("==")
        for pin in PINNED
        if pin.name == name and (pin.marker is None or pin.marker.evaluate({"python_version": python}))
    ]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_what_is_declared_is_pinned_within_its_bounds(requirement, python):
    assert {s.operator for s in requirement.specifier} == {">="}, "an upper bound needs a reason and a test"
    held = pins(requirement.name, python)
    if not held:  # these come with PyTorch, which is tested on one Python
        assert requirement.name in ("accelerate", "torch", "transformers")
        assert python != "3.11"
        return
    assert len(held) == 1
    assert requirement.specifier.contains(held[0])


def test_pytorch_is_the_release_that_is_tested():
    assert pins("torch", "3.11") == ["2.13.0"]
    assert pins("torch", "3.12") == []
    assert not [pin.name for pin in PINNED if pin.name.startswith(("nvidia", "triton", "cuda"))]
