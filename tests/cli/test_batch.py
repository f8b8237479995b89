"""``placer batch`` and the comparison of two batches from the outside: codes, streams, signals, names."""

import csv
import io
import json
import re
import signal
import sys
import time

import pytest

from placer.cli.arguments import parser
from placer.cli.option_arguments import options_from
from placer.formats import native
from placer.studies.batch.names import shown
from tests.support.batches import ROOT, chain, command, descendants, gone, outcomes, write_instances
from tests.support.command import call

DATA = ROOT / "data"


def test_options_take_several_values():
    text = "batch x --out y --schedule 1f1b,gpipe --gap 0.1 --gap 0.2,0.3 --contiguous --no-contiguous"
    assert options_from(parser().parse_args([*text.split(), "--pin", "a=acc"])) == {
        "schedule": ["1f1b", "gpipe"],
        "gap": [0.1, 0.2, 0.3],
        "contiguous": [True, False],
        "pin": {"a": ("acc",)},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{data}"], "--out"),
        (
            ["{data}", "--out", "{out}", "--schedule", "1f1b,2f2b"],
            "invalid value '2f2b'; choose from 1f1b, gpipe",
        ),
        (["{data}", "--out", "{out}", "--gap", "much"], "invalid value 'much'"),
        (["{data}", "--out", "{out}", "--gap", ","], "no value"),
        (["{data}", "--out", "{out}", "--methods", "dq"], "there is no method 'dq'"),
        (["{data}", "--out", "{out}", "--methods", "greedy"], "does not plan for throughput"),
        (["{data}", "--out", "{out}", "--jobs", "0"], "at least one job must run"),
        (["{data}", "--out", "{out}", "--threads", "999"], "999 threads do not fit, or oversubscribe"),
        (["{out}/nothing", "--out", "{out}"], "there is no such file or folder"),
        (["{data}", "--out", "{data}/textbook.json"], "cannot be written"),
        (["{data}", "--out", "{out}", "--grid", "{data}/textbook.json"], "not TOML"),
    ],
)
def test_bad_usage(capsys, tmp_path, arguments, said):
    filled = [a.format(data=DATA, out=tmp_path / "out") for a in arguments]
    code, out, err = call(capsys, "batch", *filled)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_dask_is_optional(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = call(capsys, "batch", DATA, "--out", tmp_path / "out", "--scheduler", "local")
    assert (code, err) == (2, "placer: --scheduler needs Dask: pip install distributed\n")


def test_table_files_and_comparison(capsys, tmp_path):
    a, b, file = tmp_path / "a", tmp_path / "b", DATA / "textbook.json"
    code, out, err = call(capsys, "batch", file, "--out", a, "--methods", "dp,single", "--json")
    assert code == 0
    assert {row["method"]: row["solved"] for row in json.loads(out)["methods"]} == {"dp": 1, "single": 1}
    assert err.splitlines()[-1].startswith("2 of 2 jobs done, 0 running, 0 failed")
    code, out, err = call(capsys, "batch", file, "--out", a, "--methods", "dp,single", "--quiet")
    assert (code, err) == (0, "")
    assert re.search(r"^ ?dp +1 +1 +1 +0 +0 +0 +0 +\S+ +0.00 % +1 / 0 +1 +1.0000 *$", out, re.MULTILINE)
    assert re.search(r"^ ?single +1 +1 +0 +0 +0 +0 +0 +\S+ +0 / 1 +0 +6.8000 *$", out, re.MULTILINE)
    rows = list(csv.DictReader(io.StringIO((a / "jobs.csv").read_text())))
    assert [(row["method"], row["objective"]) for row in rows] == [("dp", "10.0"), ("single", "68.0")]
    assert (a / "summary.csv").read_text().startswith("method,jobs,solved,proven,infeasible,stopped,")

    # The plan on one device passes for that of dp: worse by far, and noticed.
    call(capsys, "batch", file, "--out", b, "--methods", "dp,single", "--quiet")
    assert call(capsys, "compare", a, b)[0] == 0
    dp, single = (next((b / "results").glob(f"{row['id']}.json")) for row in rows)
    document = json.loads(single.read_text())
    document["options"]["method"] = "dp"
    dp.write_text(json.dumps(document))
    code, out, _ = call(capsys, "compare", a, b)
    assert code == 1
    assert "proven │ failed" in out
    code, out, _ = call(capsys, "compare", a, b, "--json", "--out", tmp_path / "changes.csv")
    assert (code, json.loads(out)["jobs"]) == (1, 2)
    assert (tmp_path / "changes.csv").read_text().splitlines()[1] == "textbook,dp,status,worse,proven,failed"
    code, _, err = call(capsys, "compare", a, tmp_path)
    assert code == 2
    assert "no folder of a batch" in err
    assert call(capsys, "compare", a, b, "--noise", "-1")[0] == 2


def test_an_altered_result_is_noticed(capsys, tmp_path):
    """Whatever is changed by hand, `placer check` says so."""
    out = tmp_path / "out"
    assert call(capsys, "batch", DATA / "textbook.json", "--out", out, "--methods", "dp", "--quiet")[0] == 0
    (instance,), (result,) = ((out / name).iterdir() for name in ("instances", "results"))
    assert call(capsys, "check", instance, result)[0] == 0
    document = json.loads(result.read_text())
    assert len(document) > 15
    for field, value in document.items():
        other = {"a": 1} if isinstance(value, dict) else "other" if isinstance(value, str) else 1.25
        text = json.dumps(document | {field: None if value == other else other})
        result.write_text(text)
        code, said, err = call(capsys, "check", instance, result)
        assert code in (1, 2), field
        assert "verified" not in said
        assert err
    # Also where the types and the numbers fit.
    for field, value in (("runtime_s", 0.5), ("bound", 9.999), ("message", "better"), ("method", "milp")):
        result.write_text(json.dumps(document | {field: value}))
        code, _, err = call(capsys, "check", instance, result)
        assert code == 1, field
        assert "the document was altered after it was written" in err


def test_some_failed(capsys, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    files = (DATA / "textbook.json", tmp_path / "bad.json")
    code, out, err = call(
        capsys, "batch", *files, "--out", tmp_path / "out", "--methods", "single", "--jobs", 1
    )
    assert code == 1
    assert "bad.json, single: bad instance: not JSON: Expecting property name" in err
    assert re.search(r"^ ?single +2 +1 ", out, re.MULTILINE)


HOSTILE = "\x1b[2J\x07=1+1;$(touch pwned)`touch pwned`&|'\"<script>alert(1)</script>[bold red]../../\u202e\n"


def test_hostile_names(capsys, tmp_path, monkeypatch):
    """Names reach no shell, no path and no terminal as they are; what is a formula is none in the tables."""
    monkeypatch.chdir(tmp_path)
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    (graphs / "a.json").write_text(native.to_json(chain().replace(name=f"={HOSTILE}")))
    (graphs / f"$(touch pwned){HOSTILE.strip().replace('/', '')}.json").write_text("{")
    code, out, err = call(capsys, "batch", "graphs", "--out", "out", "--methods", "single")
    assert code == 1
    for text in (out, err, (tmp_path / "out" / "jobs.csv").read_text()):
        assert all(c.isprintable() or c == "\n" for c in text), text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "jobs.csv").read_text())))
    assert {row["instance"][0] for row in rows} == {"'", "$"}
    assert call(capsys, "compare", "out", "out")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"graphs", "out"}
    inside = [
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()
    ]
    assert all(set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyz./") for name in inside)
    assert "[bold red]" in shown(HOSTILE, 200)  # shown as it is, not obeyed


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_signals_stop_cleanly(tmp_path, number):
    graphs, out = write_instances(tmp_path / "graphs", 12), tmp_path / "out"
    (graphs / "0slow.json").write_text((DATA / "inception.json").read_text())
    methods = "single,local-search"
    process = command("batch", graphs, "--out", out, "--methods", methods, "--no-contiguous", "--jobs", 1)
    while not (out / "results").is_dir() or len(list((out / "results").iterdir())) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    below = descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted with" in err
    assert "Traceback" not in err
    assert gone(below)
    kept = {p.name: p.read_bytes() for p in (out / "results").iterdir()}
    assert len(kept) >= 2
    again = command("batch", graphs, "--out", out, "--methods", methods, "--no-contiguous", "--jobs", 1)
    said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert len(outcomes(out)) == 26
    assert all((out / "results" / name).read_bytes() == data for name, data in kept.items())
