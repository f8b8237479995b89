"""The summary, the comparison of two batches, the estimate of the time left, grids and names, by hand."""

import math

import pytest

from placer.errors import InputError, UsageError
from placer.instance.fingerprint import fingerprint
from placer.options import Options
from placer.plans.result import Status
from placer.solving.solve import solve
from placer.studies.attempt import FailureKind
from placer.studies.batch.difference import Turn, compare_batches, describe
from placer.studies.batch.eta import estimate
from placer.studies.batch.grid import expand, labels, read_grid
from placer.studies.batch.jobs import Failure, Job, job_id, options_key
from placer.studies.batch.names import shown
from placer.studies.batch.records import Record, State, problem_key, read_records, records_to_csv
from placer.studies.batch.store import Store
from placer.studies.batch.summary import summarise
from tests.support.batches import chain


def record(method, state, objective=None, bound=None, seconds=1.0, problem="p", ratio=None):
    gap = None if objective is None or bound is None else (objective - bound) / objective
    return Record(
        id="0", key=f"{problem} {method}", instance=problem, sha256="0", problem=problem, method=method,
        state=state, objective=objective, bound=bound, gap=gap, seconds=seconds, ratio=ratio,
    )  # fmt: skip


# -- summary --------------------------------------------------------------------------------------------


def test_summary():
    """Seconds 0, 8 and 0 shifted by 1: (1 x 9 x 1)^(1/3) - 1; gaps 0 and 0.5; ratios 1 and 1.21."""
    rows = [
        record("a", State.PROVEN, 4.0, 4.0, 0.0, "p", 1.0),
        record("a", State.SOLVED, 4.0, 2.0, 8.0, "q", 1.21),
        record("a", State.INFEASIBLE, None, None, 0.0, "r"),
        record("a", State.FAILED, None, None, 1e9, "s"),
        record("b", State.SOLVED, 4.0, None, 1.0, "p", 1.0 + 1e-9),
        record("b", State.STOPPED, None, 1.0, 1.0, "q"),
        record("b", State.NOT_APPLICABLE, None, None, 1e9, "r"),
        record("b", State.WAITING, None, None, None, "s"),
    ]
    a, b = summarise(rows).methods
    assert (a.jobs, a.solved, a.proven, a.infeasible, a.stopped, a.failed) == (4, 2, 1, 1, 0, 1)
    assert a.time_s == pytest.approx(9 ** (1 / 3) - 1)
    assert (a.mean_gap, a.with_gap, a.without_gap) == (0.25, 2, 1)
    assert (a.wins, a.ratio_to_best) == (1, pytest.approx(1.1))
    assert (b.jobs, b.solved, b.proven, b.stopped, b.not_applicable, b.waiting) == (4, 1, 0, 1, 1, 1)
    assert b.time_s == pytest.approx(1.0)
    assert (b.mean_gap, b.with_gap, b.without_gap, b.wins) == (None, 0, 2, 1)
    text = summarise(rows).to_csv()
    assert text.splitlines()[1].startswith("a,4,2,1,1,0,0,1,0,1.08")


def test_contradictions_are_found():
    plan = record("a", State.SOLVED, 4.0, None)
    assert summarise([plan, record("b", State.SOLVED, 5.0, 4.0)]).contradictions == []
    above = record("b", State.SOLVED, 5.0, 4.1)
    (said,) = summarise([above, plan]).contradictions
    assert said == "p: b claims that no plan is below 4.1 ms, but a has a verified plan of 4.0 ms"
    refuted = record("b", State.INFEASIBLE)
    (said,) = summarise([refuted, plan]).contradictions
    assert said == "p: b claims that there is no plan, but a has a verified plan of 4.0 ms"
    elsewhere = record("b", State.INFEASIBLE, problem="q")
    assert summarise([elsewhere, plan]).contradictions == []


def test_only_the_same_question_is_compared():
    key = problem_key("1", Options())
    assert key == problem_key("1", Options(method="dp", seed=3, threads=2, gap=0.1, time_limit=5))
    others = [
        Options(schedule="gpipe"),
        Options(contiguous=False),
        Options(communication="overlap"),
        Options(max_devices=2),
        Options(method="milp", formulation="paper"),
    ]
    assert len({key, *(problem_key("1", o) for o in others), problem_key("2", Options())}) == 7


# -- difference -----------------------------------------------------------------------------------------


def batch(folder, results):
    """Make the folder of a batch: per gap (the option that names the job) a result or a failure."""
    store, sha = Store(folder), fingerprint(chain())
    jobs, base = [], solve(chain(), method="dp")
    for gap, changes in results.items():
        options = Options(method="dp", gap=gap)
        job = Job(
            id=job_id(sha, options, "0"), instance="chain", source="", sha256=sha, options=options, code="0"
        )
        jobs.append((job, base.model_copy(update={"options": options, **changes}).sealed()))
    with store.locked():
        store.plan([job for job, _ in jobs], [])
        for job, result in jobs:
            if result.message == "failed":
                values = {"id": job.id, "instance": "", "sha256": sha, "options": job.options, "attempts": 1}
                store.fail(job, Failure(**values, kind=FailureKind.CRASHED, reason="", seconds=1.0))
            elif result.message != "waiting":
                store.finish(job, result)
    return folder


def test_difference(tmp_path):
    a = {
        0.1: {"runtime_s": 1.0},
        0.2: {"runtime_s": 1.0},
        0.3: {"objective": 12.0, "bound": 8.0, "status": Status.FEASIBLE, "runtime_s": 1.0},
        0.4: {"runtime_s": 1.0},
        0.5: {"message": "failed"},
        0.6: {"message": "waiting"},
        0.7: {},
    }
    b = {
        0.1: {"runtime_s": 1.4},  # noise
        0.2: {"runtime_s": 1.6},
        0.3: {"objective": 12.1, "bound": 9.0, "status": Status.FEASIBLE, "runtime_s": 0.5},
        0.4: {"runtime_s": 1.0, "bound": None, "status": Status.FEASIBLE},
        0.5: {"runtime_s": 1.0},
        0.6: {},
    }
    difference = compare_batches(batch(tmp_path / "a", a), batch(tmp_path / "b", b))
    assert (difference.jobs, difference.same, difference.only_a, difference.only_b) == (5, 1, 1, 1)
    changes = [(c.method, c.what, c.turn.value, c.a, c.b) for c in difference.changes]
    assert changes == [
        ("dp gap=0.2", "seconds", "worse", 1.0, 1.6),
        ("dp gap=0.3", "objective", "worse", 12.0, 12.1),
        ("dp gap=0.3", "bound", "better", 8.0, 9.0),
        ("dp gap=0.3", "seconds", "better", 1.0, 0.5),
        ("dp gap=0.4", "status", "worse", "proven", "solved"),
        ("dp gap=0.4", "bound", "worse", 10.0, None),
        ("dp gap=0.5", "status", "better", "failed", "proven"),
        ("dp gap=0.5", "bound", "better", None, 10.0),
    ]
    expected = (1.5 / 1.1) * (1.7 / 1.1) * (0.6 / 1.1) * 1.0
    assert difference.time_ratio == pytest.approx(expected ** (1 / 4))
    assert [c.what for c in difference.worse] == ["objective", "status", "bound"]
    assert describe(difference)[1] == "status: 1 better, 1 worse"
    strict = compare_batches(tmp_path / "a", tmp_path / "b", noise=0.2)
    assert strict.count(Turn.WORSE, "seconds") == 2
    assert compare_batches(tmp_path / "a", tmp_path / "a").changes == []
    with pytest.raises(UsageError, match="no job in common"):
        compare_batches(tmp_path / "a", batch(tmp_path / "c", {0.8: {}}))


def test_a_folder_that_is_no_batch(tmp_path):
    with pytest.raises(InputError, match=r"no folder of a batch \(no manifest.json"):
        compare_batches(tmp_path, tmp_path)


# -- estimate -------------------------------------------------------------------------------------------


def test_nothing_is_said_too_early():
    assert estimate({"a": [1.0] * 4}, {"a": 5}, [], 1) is None


def test_estimate_by_kind():
    """Jobs of kind a always take 2 s, of kind b always 10 s, two at a time."""
    ended = {"a": [2.0] * 5, "b": [10.0] * 5}
    left = estimate(ended, {"a": 4, "b": 1}, [("b", 4.0)], 2)
    assert (left.seconds, left.low, left.high) == (12.0, 12.0, 12.0)
    assert str(left) == "about 12 s left"


def test_the_last_job_counts_in_full():
    assert estimate({"a": [10.0] * 5}, {}, [("a", 1.0)], 8).seconds == 9.0


def test_the_range_grows_with_the_spread():
    """Times 1 and 3 (variance 8/7 of eight jobs) for 7 jobs: 14 s, and the mean is uncertain itself."""
    left = estimate({"a": [1.0, 3.0] * 4}, {"a": 7}, [], 1)
    spread = 2 * math.sqrt(7 * 8 / 7 + 49 * 8 / 7 / 8)
    assert left.seconds == 14.0
    assert (left.low, left.high) == (pytest.approx(14 - spread), pytest.approx(14 + spread))
    assert str(left) == "6 s to 22 s left"


# -- grids ----------------------------------------------------------------------------------------------


def test_grid_combines_and_says_what_makes_no_sense():
    grid = {"methods": ["dp", "greedy"], "objective": ["latency", "throughput"], "pieces": (1, 2)}
    options, left_out = expand([grid, {"method": "dp", "objective": "latency"}])
    assert [(o.method, o.objective.value, o.pieces) for o in options] == [
        ("dp", "latency", 1),
        ("dp", "latency", 2),
        ("dp", "throughput", 1),
        ("greedy", "latency", 1),
        ("greedy", "latency", 2),
    ]
    assert left_out == [
        "method dp, objective throughput, pieces 2: pieces apply to the latency objective only",
        "method greedy, objective throughput, pieces 1: method greedy does not plan for throughput",
        "method greedy, objective throughput, pieces 2: method greedy does not plan for throughput",
    ]
    assert sorted(labels(options).values())[0] == "dp objective=latency pieces=1"


def test_collections_are_one_value():
    options, _ = expand([{"apart": [["a", "b"], ["c", "d"]], "use_devices": ["acc0", "acc1"]}])
    assert [o.apart for o in options] == [(("a", "b"), ("c", "d"))]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"metods": ["dp"]}, "there is no option 'metods'"),
        ({"methods": ["dq"]}, "there is no method 'dq'"),
        ({"gap": []}, "option gap: no value"),
        ({"gap": [2.0]}, "no combination of the options makes sense: gap 2.0: option gap:"),
        ({"method": "dp", "methods": ["dpl"]}, "option methods: given twice"),
        ({"method": "expert"}, "no combination .* a split belongs to one instance"),
    ],
)
def test_bad_grids(grid, said):
    with pytest.raises(UsageError, match=said):
        expand([grid])


def test_grid_files(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('methods = ["dp"]\ngap = [0.1, 0.2]\n')
    assert read_grid(path) == [{"methods": ["dp"], "gap": [0.1, 0.2]}]
    path.write_text('[[grid]]\nmethods = ["dp"]\n[[grid]]\nmethods = ["milp"]\n')
    assert read_grid(path) == [{"methods": ["dp"]}, {"methods": ["milp"]}]
    for text, said in (("x = ", "not TOML"), ("x = 1\n[[grid]]\ny = 1\n", "either options or tables")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_grid(path)


def test_the_key_of_options_knows_no_defaults():
    assert options_key(Options()) == "{}"
    assert options_key(Options(gap=0.5, method="dp")) == '{"gap":0.5,"method":"dp"}'


# -- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\x1b]0;title\x07\x1b[31mred", "�]0;title��[31mred"),
        ("two\nlines\r\u2028\u202e", "two�lines���"),
        ("x" * 70, "x" * 29 + "…" + "x" * 30),
        ("語 é", "語 é"),
    ],
)
def test_shown(name, expected):
    assert shown(name) == expected


def test_numbers_stay_numbers(tmp_path):
    row = record("=a", State.SOLVED, 4.0, -0.0)
    assert records_to_csv([row]).splitlines()[1] == "0,p,0,'=a,solved,4.0,-0.0,1.0,,1.0,,,,ms"


def test_a_job_without_documents_waits(tmp_path):
    folder = batch(tmp_path / "a", {0.1: {"message": "waiting"}})
    store = Store(folder)
    assert [r.state for r in read_records(store, store.manifest())] == [State.WAITING]
