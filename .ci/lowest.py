"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

BOUND = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)")
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the lower bound of every package that is named; one without is an error."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    wanted = [*document["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    found = {}
    for requirement in wanted:
        bound = BOUND.match(requirement)
        if bound is None:
            raise SystemExit(f"pyproject.toml: no lower bound: {requirement}")
        name, version = bound.groups()
        if found.setdefault(name, version) != version:
            raise SystemExit(f"pyproject.toml: two lower bounds: {name} {found[name]} and {version}")
    for name, version in sorted(found.items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
