"""The comparison tabulates methods, isolates their failures and shouts when proofs contradict plans."""

import csv
import io
import json
import os
import signal
import threading
import time

import pytest

import placer
from placer.cli import main
from placer.cli.compare import exit_code
from placer.errors import UsageError
from placer.methods.registry import METHODS, MethodInfo
from placer.options import Options
from placer.plans.status import Stop
from placer.search.guard import grace_s
from placer.search.run import Outcome, Run
from placer.studies.attempt import Outcome as Attempted
from placer.studies.compare import Row, RowStatus, _disagreements, compare
from placer.studies.isolation import Answer, Nurseries
from placer.studies.nursery import Ended, How
from tests.methods.test_baselines import chain
from tests.support import methods as fakes
from tests.support import stubborn
from tests.support.workloads import needs_workloads, workload


@pytest.fixture(autouse=True)
def _fakes():
    with fakes.registered():
        yield


def too_bold(instance, options, run: Run) -> Outcome:
    return Outcome(Stop.TIME_LIMIT, None, 5.0)


def test_rows_tell_objective_ratio_bound_and_gap():
    table = compare(chain(), ["dp", "single"], isolate=False)
    dp, single = table.rows
    assert (dp.status, dp.objective, dp.bound, dp.gap, dp.ratio) == (RowStatus.OPTIMAL, 3.0, 3.0, 0.0, 1.0)
    assert (single.status, single.objective, single.bound, single.ratio) == (
        RowStatus.FEASIBLE,
        6.0,
        None,
        2.0,
    )
    assert table.disagreements == []
    assert table.results["dp"].assignment is not None


def test_a_method_that_does_not_apply_says_why():
    rows = {r.method: r for r in compare(chain(), ["greedy", "expert", "breaks"], isolate=False).rows}
    assert (rows["greedy"].status, rows["greedy"].message) == (
        RowStatus.NOT_APPLICABLE,
        "it plans for latency only",
    )
    assert rows["expert"].status is RowStatus.NOT_APPLICABLE
    assert "option split" in rows["expert"].message
    assert rows["breaks"].status is RowStatus.FAILED
    assert rows["breaks"].message == "RuntimeError: something unforeseen"


def test_default_methods_are_those_for_the_objective():
    run = threading.Event()
    shown: list[Row] = []

    def stop_after_two(row: Row) -> None:
        shown.append(row)
        if len(shown) == 2:
            run.set()

    table = compare(
        chain(), objective="latency", isolate=False, on_row=stop_after_two, interrupt=run, time_limit=1
    )
    assert table.interrupted
    wanted = [m for m, info in METHODS.items() if info.latency is not None and m != "auto"]
    assert [row.method for row in table.rows] == wanted[:2]


def test_unknown_names_and_options_are_errors():
    with pytest.raises(UsageError, match="no method 'magic'"):
        compare(chain(), ["magic"])
    with pytest.raises(UsageError, match="option gap"):
        compare(chain(), ["single"], gap=2)


def test_a_proof_against_a_plan_is_a_disagreement(monkeypatch):
    monkeypatch.setitem(
        METHODS, "too_bold", MethodInfo("too_bold", "for tests", throughput=f"{__name__}:too_bold")
    )
    table = compare(chain(), ["dp", "too_bold"], isolate=False)
    assert table.disagreements == [
        "too_bold claims that no plan is below 5.0 ms, but dp has a verified plan of 3.0 ms"
    ]
    assert exit_code(table) == 1
    refuted = compare(chain(), ["refutes", "single"], isolate=False)
    assert refuted.disagreements == [
        "refutes claims that there is no plan, but single has a verified plan of 6.0 ms"
    ]


def test_the_paper_program_may_be_better_without_contradiction():
    """Its contiguity is weaker: its plan refutes no bound of the others, while its bound holds for them."""
    rows = [
        Row(method="dp", status="optimal", objective=3.0, bound=3.0, seconds=0),
        Row(method="milp", status="optimal", objective=2.0, bound=2.0, seconds=0),
    ]
    assert _disagreements(rows, Options(formulation="paper")) == []
    assert len(_disagreements(rows, Options())) == 1
    above = [rows[0], Row(method="milp", status="unknown", bound=3.1, seconds=0)]
    assert len(_disagreements(above, Options(formulation="paper"))) == 1


def test_a_process_of_its_own_measures_memory():
    table = compare(chain(), ["single"])
    assert table.rows[0].objective == 6.0
    assert 20 < table.rows[0].peak_memory_mb < 2000


@pytest.fixture
def _stubborn(tmp_path, monkeypatch):
    """Methods that obey nobody, known here and in every process that starts from now on."""
    for name in ("sleeps", "eats", "fails", "dies"):
        monkeypatch.setitem(METHODS, name, MethodInfo(name, "", throughput=f"tests.support.stubborn:{name}"))
    (tmp_path / "sitecustomize.py").write_text("from tests.support import stubborn; stubborn.register()\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_stubborn")
def test_crashes_are_rows():
    table = compare(stubborn.chain(), ["dies", "fails", "single"])
    dies, fails, single = table.rows
    assert (dies.status, fails.status, single.status) == (RowStatus.FAILED, RowStatus.FAILED, "feasible")
    assert dies.message == "the search was ended by SIGSEGV during its start"
    assert fails.message == "ZeroDivisionError: in the fork"
    assert dies.peak_memory_mb > 20
    assert exit_code(table) == 1


@pytest.mark.usefixtures("_stubborn")
def test_limits_hold_and_what_was_found_is_kept():
    began = time.monotonic()
    table = compare(stubborn.chain(), ["sleeps", "eats"], time_limit=2, memory_limit_mb=64)
    assert [row.status for row in table.rows] == [RowStatus.FEASIBLE] * 2
    assert [table.results[m].stop for m in ("sleeps", "eats")] == [Stop.TIME_LIMIT, Stop.MEMORY_LIMIT]
    assert table.rows[0].seconds < 2 + grace_s(2) + 1
    assert time.monotonic() - began < 40  # of which most is to start an interpreter on a busy machine


@pytest.mark.usefixtures("_stubborn")
def test_it_stops_from_another_thread_and_keeps_the_plan():
    stop, tables = threading.Event(), []

    def run():
        tables.append(compare(stubborn.chain(), ["sleeps", "single"], interrupt=stop))

    thread = threading.Thread(target=run)
    thread.start()
    threading.Timer(4.0, stop.set).start()
    thread.join(60)
    assert tables[0].interrupted
    assert [row.method for row in tables[0].rows] == ["sleeps"]
    assert tables[0].results["sleeps"].stop is Stop.INTERRUPTED
    assert tables[0].rows[0].objective == 6.0


@pytest.mark.usefixtures("_stubborn")
def test_ctrl_c_keeps_the_plan(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        table = compare(stubborn.chain(), ["sleeps", "single"])
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert table.interrupted
    assert [(row.method, row.objective) for row in table.rows] == [("sleeps", 6.0)]


@pytest.mark.parametrize(
    ("ended", "kept"),
    [
        (Ended(How.TIME, "it ran for more than 1 s"), True),
        (Ended(How.MEMORY, "it held more than 1 MiB"), True),
        (Ended(How.STOPPED, "it was stopped"), True),
        (Ended(How.TIME, "it ran for more than 1 s"), False),
        (Ended(How.CRASHED, "it crashed (SIGSEGV)"), False),
        (Ended(How.KILLED, "it was ended from outside by SIGKILL"), False),
    ],
)
def test_however_a_process_ends_there_is_a_row(monkeypatch, ended, kept):
    """What a process handed over before its end counts, whatever the end was."""
    result = placer.solve(chain(), method="single").model_copy(update={"stop": Stop.INTERRUPTED})
    answer = Answer(Attempted(result) if kept else None, ended)
    monkeypatch.setattr(Nurseries, "run", lambda *_, **__: answer)
    row = compare(chain(), ["single"], time_limit=1).rows[0]
    if kept:
        assert (row.status, row.objective) == (RowStatus.FEASIBLE, 6.0)
    else:
        assert row.status is RowStatus.FAILED
        assert row.message.startswith(ended.reason)


def test_json_and_csv_hold_the_same_rows():
    table = compare(chain(), ["dp", "single", "expert"], isolate=False)
    document = json.loads(table.to_json())
    assert document["format"] == "placer-comparison"
    assert [row["objective"] for row in document["rows"]] == [3.0, 6.0, None]
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [line["objective"] for line in lines] == ["3.0", "6.0", ""]
    assert lines[2]["status"] == "not applicable"


def test_command_line(tmp_path, capsys):
    path, out = tmp_path / "chain.json", tmp_path / "table.csv"
    from placer.formats.files import save

    save(chain(), path)
    assert main(["compare", str(path), "--methods", "dp,single", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "optimal" in shown.out
    assert "2.0000" in shown.out
    assert "single: feasible 6 ms" in shown.err
    assert out.read_text().startswith("method,status,objective,ratio,bound,gap,seconds")
    assert main(["compare", str(path), "--methods", "greedy", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["rows"][0]["status"] == "not applicable"
    assert main(["compare", str(path), "--methods", "magic"]) == 2


@pytest.mark.workload
@needs_workloads
@pytest.mark.parametrize("name", ["layer_bert24_inference", "layer_gnmt_inference"])
def test_exact_methods_agree_on_workloads(name):
    table = compare(
        workload("throughput", name), ["dp", "dpl", "milp", "local-search"], isolate=False, gap=0.01
    )
    assert table.disagreements == []
    assert table.rows[0].status is RowStatus.OPTIMAL
    assert table.rows[0].ratio == 1.0
