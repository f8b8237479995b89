"""Print a constraints file for pip from what two environments hold, with markers.

usage: pins.py OLD-PYTHON NEW-PYTHON, their interpreters: one of Python 3.11 and one of 3.12 or newer
"""

import re
import subprocess
import sys

OLD, NEW = "python_version < '3.12'", "python_version >= '3.12'"
LEFT_OUT = {"dnn-placer", "pip", "wheel"}
FOR_ALL = {"setuptools"}
"""Builds the package wherever; an environment need not hold it."""
HEAD = """\
# The versions that are tested together; `make demo` and `make test` install them, `make pins` renews them.
"""


def versions(python: str) -> dict[str, str]:
    """List what an environment holds, without local labels of versions (``+cpu``)."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    pairs = (line.split("==") for line in listed.splitlines())
    held = {re.sub(r"[-_.]+", "-", name).lower(): version.split("+")[0] for name, version in pairs}
    return {name: version for name, version in held.items() if name not in LEFT_OUT}


def main(old_python: str, new_python: str) -> None:
    """Print one line for each package, or two where the environments differ."""
    old, new = versions(old_python), versions(new_python)
    print(HEAD, end="")
    for name in sorted(old | new):
        if old.get(name) == new.get(name) or name in FOR_ALL:
            print(f"{name}=={max(filter(None, (old.get(name), new.get(name))))}")
            continue
        for held, marker in ((old, OLD), (new, NEW)):
            if name in held:
                print(f"{name}=={held[name]}; {marker}")


if __name__ == "__main__":
    main(*sys.argv[1:])
