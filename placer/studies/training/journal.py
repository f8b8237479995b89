"""The folder of a search: what was tried line by line, and the best plan; the same search goes on there.

::

    journal.jsonl    what is searched, then each choice that was solved
    instance.json    the instance of the best choice
    plan.json        its plan
    choices.csv      the table, at the end
    training.json    the document, at the end
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from placer.errors import InputError, UsageError
from placer.formats.files import load, load_result, save, save_result
from placer.formats.text import parse_json, read_text, validate, write_text
from placer.imports.catalogue import Cluster
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.plans.result import Result
from placer.studies.training.explore import Source
from placer.studies.training.training_choices import TrainingRequest
from placer.studies.training.training_plan import TrainingPlan, Tried

__all__ = ["Journal"]

FORMAT = "placer-training-journal"


class Journal:
    """What a folder knows of a search.

    Parameters
    ----------
    folder
        Created when it is not there.
    source, cluster, request
        What is searched; gap and number of runners-up may differ from the earlier search.

    Raises
    ------
    UsageError
        When the folder belongs to another search.
    InputError
        When a file in it is wrong or cannot be written.
    """

    def __init__(
        self, folder: str | Path, source: Source, cluster: Cluster, request: TrainingRequest
    ) -> None:
        self.folder = Path(folder)
        self.known: tuple[Tried, ...] = ()
        self.best: tuple[Instance, Result] | None = None
        what = request.model_dump(mode="json", exclude={"gap", "runners_up"})
        what |= {"model": fingerprint(source.base(1, 1)[0]), "cluster": cluster.model_dump(mode="json")}
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        self._head = json.dumps({"format": FORMAT, "search": key})
        self._lines: list[str] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", source=str(folder)) from None
        self._read()

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def _read(self) -> None:
        """Read what is there; an unfinished last line is left out."""
        if not self._journal.exists():
            if any(self.folder.iterdir()):
                raise UsageError(f"{self.folder}: there are other files in this folder")
            return
        head, *lines = read_text(self._journal).split("\n")[:-1] or [""]
        if head != self._head:
            raise UsageError(f"{self.folder}: this folder holds another search; give another one")
        self._lines = lines
        self.known = tuple(validate(Tried, parse_json(line, str(self._journal))) for line in lines)
        if (self.folder / "plan.json").exists():
            self.best = load(self.folder / "instance.json"), load_result(self.folder / "plan.json")

    def add(self, tried: Tried, best: tuple[Instance, Result] | None) -> None:
        """Write down a choice that was solved, and its plan if it is the best one so far."""
        if best is not None:
            save(best[0], self.folder / "instance.json")
            where = best[1].instance.model_copy(update={"file": "instance.json"})
            save_result(best[1].model_copy(update={"instance": where}), self.folder / "plan.json")
        self._lines.append(json.dumps(tried.model_dump(mode="json")))
        write_text(self._journal, "\n".join((self._head, *self._lines)) + "\n")

    def finish(self, plan: TrainingPlan) -> None:
        """Write the table and the document."""
        write_text(self.folder / "choices.csv", plan.to_csv())
        write_text(self.folder / "training.json", plan.to_json())
