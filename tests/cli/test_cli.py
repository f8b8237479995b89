"""Exit codes, one-line errors, output and interruption of the command line, apart from any solver."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from placer.formats.files import load_result
from placer.options import Options
from tests.formats.test_bad_input import DOCUMENTS, NATIVE, PAPER, TEXTS, changed
from tests.support.command import call
from tests.support.methods import registered

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _methods():
    with registered():
        yield


@pytest.fixture
def instance(tmp_path):
    """A chain a -> b -> c; a and b fit on one accelerator, c runs anywhere."""
    path = tmp_path / "chain.json"
    path.write_text(json.dumps(changed(NATIVE, ("nodes/2/backward", False), ("nodes/2/colocate", None))))
    return path


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err.strip()


# -- bad usage and bad input: one line, exit code 2 ------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_bad_documents(capsys, tmp_path, name):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(DOCUMENTS[name][0]))
    for arguments in (["info", path], ["solve", path, "--method", "proves"]):
        code, out, err = call(capsys, *arguments)
        assert (code, out) == (2, "")
        assert one_line(err).startswith(f"placer: {path}: ")


@pytest.mark.parametrize("name", TEXTS)
def test_bad_texts(capsys, tmp_path, name):
    path = tmp_path / "bad.json"
    path.write_bytes(TEXTS[name][0])
    code, out, err = call(capsys, "info", path)
    assert (code, out) == (2, "")
    assert one_line(err).startswith(f"placer: {path}: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["solve"], "INSTANCE"),
        (["solve", "{}", "--method", "magic"], "'magic'"),
        (["solve", "{}", "--objective", "beauty"], "beauty"),
        (["solve", "{}", "--gap", "-1"], "gap"),
        (["solve", "{}", "--gap", "nan"], "gap"),
        (["solve", "{}", "--gap", "much"], "--gap"),
        (["solve", "{}", "--time-limit", "0"], "time_limit"),
        (["solve", "{}", "--time-limit", "inf"], "time_limit"),
        (["solve", "{}", "--threads", "0"], "threads"),
        (["solve", "{}", "--seed", "-1"], "seed"),
        (["solve", "{}", "--pieces", "0"], "pieces"),
        (["solve", "{}", "--method", "proves", "--pieces", "2"], "pieces"),
        (["solve", "{}", "--method", "proves", "--objective", "latency"], "does not plan for latency"),
        (["solve", "{}", "--method", "proves", "--unknown"], "--unknown"),
        (["check", "{}"], "RESULT"),
        (["check", "{}", "{}"], "not a result: this is an instance"),
        (["solve", "{}", "--method", "proves", "--out", "{}/x.json"], "cannot be written"),
        (["solve", "{}", "--method", "proves", "--out", "/"], "directory"),
        (["info", "/no/such/file"], "No such file"),
        (["info", "/"], "directory"),
    ],
)
def test_bad_usage(capsys, instance, arguments, said):
    code, out, err = call(capsys, *(a.replace("{}", str(instance)) for a in arguments))
    assert (code, out) == (2, "")
    assert said in one_line(err)


def test_unwritable_out_is_noticed_before_the_solve(capsys, instance, tmp_path):
    code, _, err = call(capsys, "solve", instance, "--method", "breaks", "--out", tmp_path / "no" / "x.json")
    assert code == 2  # the method, which would have failed, was never called
    assert "cannot be written" in one_line(err)


CONTRACT = {
    *("status", "objective", "bound", "gap", "method", "formulation", "options", "runtime_s", "instance"),
    *("versions", "assignment", "pieces", "devices", "message"),
}

# -- results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "code", "status"),
    [
        ("proves", 0, "optimal"),
        ("finds", 0, "feasible"),
        ("refutes", 3, "infeasible"),
        ("gives_up", 4, "unknown"),
    ],
)
def test_exit_codes_and_documents(capsys, instance, tmp_path, method, code, status):
    out_path = tmp_path / "result.json"
    got, out, err = call(
        capsys, "solve", instance, "--method", method, "--json", "--out", out_path, "--quiet"
    )
    assert got == code
    document = json.loads(out)
    assert document["status"] == status
    assert json.loads(out_path.read_text()) == document
    assert call(capsys, "check", instance, out_path)[0] == 0
    if code:
        assert document["objective"] is None
        assert document["assignment"] is None
        assert one_line(err).startswith(f"placer: {status}: ")
    else:
        assert err == ""
        # a and b take 2 ms on acc0, which sends b's 100 bytes in 0.1 ms; c takes 2 ms on the host
        assert document["objective"] == pytest.approx(2.1)
        assert document["assignment"] == {"a": "acc0", "b": "acc0", "c": "host0"}
    assert set(document) >= CONTRACT
    assert os.stat(out_path).st_mode & 0o777 == 0o666 & ~_umask()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.json", "result.json"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_table(capsys, instance):
    code, out, err = call(capsys, "solve", instance, "--method", "proves")
    assert code == 0
    rows = {
        line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:-1]]
        for line in out.splitlines()
        if "│" in line
    }
    assert rows["acc0"][:4] == ["2.1000", "2.0000", "0.0000", "0.1000"]
    assert rows["acc0"][4:] == ["3 B of 10 B", "2", "a, b"]
    assert rows["acc1"][0] == "0.0000"
    assert rows["host0"][0] == "2.0000"
    assert "status optimal" in out
    assert "objective 2.1 ms" in out
    assert "bound 2.1 ms" in out
    assert "gap 0.0000 %" in out
    assert "proving" in err
    assert "best 2.1 ms" in err


def test_markup_in_names_is_only_text(capsys, instance):
    document = changed(
        json.loads(instance.read_text()), ("nodes/0/name", "[red]a[/nothing]"), ("name", "[bold]")
    )
    instance.write_text(json.dumps(document))
    code, out, _ = call(capsys, "solve", instance, "--method", "proves", "--quiet")
    assert code == 0
    assert "[red]a[/nothing]" in out


def test_check_finds_what_was_altered(capsys, instance, tmp_path):
    path = tmp_path / "result.json"
    call(capsys, "solve", instance, "--method", "proves", "--out", path)
    document = json.loads(path.read_text())
    document["assignment"]["c"] = "acc1"
    path.write_text(json.dumps(document))
    code, out, err = call(capsys, "check", instance, path)
    assert (code, out) == (1, "")
    assert f"placer: {path}: the document was altered" in err
    code, out, _ = call(capsys, "check", instance, path, "--json")
    assert code == 1
    assert json.loads(out)["holds"] is False


def test_check_reads_splits_of_the_paper(capsys, tmp_path):
    paper, split = tmp_path / "paper.json", tmp_path / "split.json"
    paper.write_text(json.dumps(changed(PAPER, ("nodes/2/isBackwardNode", 0))))
    split.write_text(
        json.dumps({"fpgas": [{"load": -1, "nodes": [1, 2]}], "cpus": [{"load": 0, "nodes": [3]}]})
    )
    code, out, _ = call(capsys, "check", paper, split)
    assert code == 0
    assert "objective 2.25 ms" in out  # 1 + 1 and sending 2's output in 0.25
    split.write_text(json.dumps({"fpgas": [{"load": -1, "nodes": [1, 2, 3]}]}))
    code, _, err = call(capsys, "check", paper, split)
    assert code == 1
    assert "node '3' may not go to acc0" in err


def test_defects_of_ours_are_no_tracebacks(capsys, instance, tmp_path):
    path = tmp_path / "result.json"
    for method, said in (("lies", "does not hold"), ("breaks", "RuntimeError: something unforeseen")):
        code, out, err = call(capsys, "solve", instance, "--method", method, "--out", path)
        assert (code, out) == (70, "")
        assert said in one_line(err)
        assert not path.exists()
    code, _, err = call(capsys, "solve", instance, "--method", "breaks", "--debug")
    assert code == 70
    assert "Traceback" in err


def test_info(capsys, instance):
    code, out, err = call(capsys, "info", instance, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["nodes"], found["edges"], found["width"], found["downsets"]) == (3, 2, 1, 4)
    assert found["kind"] == "inference"
    assert found["memory_bytes"] == 3
    assert found["accelerator_memory_bytes"] == 20
    assert [c["name"] for c in found["classes"]] == ["acc", "host"]
    code, out, _ = call(capsys, "info", instance)
    assert code == 0
    assert "downsets" in out


def test_schema_and_version(capsys):
    code, out, _ = call(capsys, "schema")
    assert code == 0
    assert out == (ROOT / "data" / "instance.schema.json").read_text()
    code, out, _ = call(capsys, "--version")
    assert code == 0
    assert out.startswith("placer ")


@pytest.mark.parametrize("command", [[], ["solve"], ["check"], ["info"], ["compare"], ["schema"]])
def test_help(capsys, command):
    code, out, _ = call(capsys, *command, "--help")
    assert code == 0
    assert out.startswith("usage: placer")


def test_help_says_what_holds_without_an_option(capsys):
    _, out, _ = call(capsys, "solve", "--help")
    text = " ".join(out.partition("examples:")[0].split())

    def said(flag):
        return re.search(r"\(default: ([^()]*)\)", text.split(f"--{flag} ")[-1])[1]

    for name, field in Options.model_fields.items():
        flag = name.replace("_", "-")
        if isinstance(field.default, bool):
            assert said(f"no-{flag}") == ("yes" if field.default else "no")
        elif isinstance(field.default, str):
            assert said(flag) == field.default
        elif isinstance(field.default, int | float):
            assert float(said(flag)) == field.default
    assert said("microbatches") == "what the instance says"
    assert said("time-limit") == "300 for milp, 300 for colgen, none for the others"


# -- processes: signals, pipes, encodings ---------------------------------------------------------

SCRIPT = "import sys; from tests.support.methods import registered; from placer.cli import main\n"
SCRIPT += "with registered(): sys.exit(main(sys.argv[1:]))"


def start(*argv, **more):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, argv)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **more,
    )


def interrupt(process, number):
    """Send a signal once the search is under way."""
    line = process.stderr.readline()
    assert b"waiting" in line, line + process.stderr.read()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    return out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_keeps_the_best_plan(instance, tmp_path, number):
    path = tmp_path / "result.json"
    process = start("solve", instance, "--method", "waits", "--out", path, "--json")
    out, _ = interrupt(process, number)
    assert process.returncode == 130
    result = load_result(path)
    assert result.status == "feasible"
    assert result.stop == "interrupted"
    assert result.objective == pytest.approx(2.1)
    assert json.loads(out)["objective"] == result.objective


def test_interruption_without_a_plan_leaves_an_earlier_result_alone(instance, tmp_path):
    path = tmp_path / "result.json"
    path.write_text("earlier")
    process = start("solve", instance, "--method", "waits_empty", "--out", path)
    _, err = interrupt(process, signal.SIGINT)
    assert process.returncode == 130
    assert path.read_text() == "earlier"
    assert "interrupted" in err


def test_time_limit_keeps_the_best_plan(capsys, instance):
    code, out, _ = call(
        capsys, "solve", instance, "--method", "waits", "--time-limit", "0.05", "--json", "--quiet"
    )
    assert code == 0
    assert json.loads(out)["stop"] == "time limit"


def test_a_closed_pipe_is_no_error(instance):
    process = start("info", instance)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


def test_a_poor_locale_is_no_error(instance):
    instance.write_text(
        json.dumps(changed(json.loads(instance.read_text()), ("name", "größe"), ("nodes/0/name", "→")))
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        process = start("solve", instance, "--method", "proves", "--quiet", *more, env=environment)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        if more:
            assert json.loads(out)["instance"]["name"] == "größe"


def test_out_replaces_a_link_by_content_and_writes_to_devices(capsys, instance, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert call(capsys, "solve", instance, "--method", "proves", "--out", link)[0] == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["status"] == "optimal"
    assert target.stat().st_mode & 0o777 == 0o640
    assert call(capsys, "solve", instance, "--method", "proves", "--out", "/dev/null")[0] == 0


@pytest.mark.parametrize("debug", [False, True])
def test_what_solvers_log_is_shown_on_demand_only(debug):
    """A warning of the library reaches standard error with --debug, and otherwise nobody."""
    code = (
        "import logging, sys; from placer.cli import devices, main;"
        "devices.run = lambda args: logging.getLogger('placer.solvers').warning('chatter') or 0;"
        "main(sys.argv[1:])"
    )
    arguments = ["devices", *(["--debug"] if debug else [])]
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ("placer.solvers: chatter\n" if debug else "")
