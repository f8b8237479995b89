"""Run the notebooks of docs/tutorials, and keep what they print and draw with them (`make notebooks`)."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]


def renew(path: Path) -> None:
    """Run a notebook in an empty folder beside ``data``, and write it with its new outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(ROOT / "data")
        client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran would differ each time
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in sys.argv[1:] or sorted(ROOT.glob("docs/tutorials/*.ipynb")):
        print(name)
        renew(Path(name))
