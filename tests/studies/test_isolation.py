"""A process per call: what it returns, how it ends, and what stops it."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call, How
from tests.support.batches import descendants, gone


@pytest.fixture(scope="module")
def nurseries():
    with Nurseries() as made:
        yield made


def double(life, value):
    life.tell("on it")
    return 2 * value


def pid(life):
    return os.getpid(), os.getppid(), os.getpgid(0)


def abort(life):
    print("the last words", file=sys.stderr, flush=True)
    os.abort()


def abort_as_rust_does(life):
    print("memory allocation of 1048576 bytes failed", file=sys.stderr)
    print("skipping backtrace printing to avoid potential recursion", file=sys.stderr, flush=True)
    os.abort()


def leave(life):
    os._exit(7)


def fail(life):
    raise ValueError("something unforeseen")


def ended_from_outside(life):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(life):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    life.tell("hanging")
    time.sleep(600)


def wait_for_stop(life):
    life.tell("waiting")
    life.interrupt.wait(600)
    return "what there is so far"


def grow(life):
    kept = []
    while True:
        kept.append(np.ones(2**20))
        time.sleep(0.01)


def ask_for_much(life):
    try:
        return np.ones(2**30).sum()
    except MemoryError:
        return "refused"


def test_the_working_directory_hides_no_package(tmp_path, monkeypatch):
    """As in the root of a clone whose kernels are not compiled, beside the placer that is installed."""
    (tmp_path / "placer").mkdir()
    (tmp_path / "placer" / "__init__.py").write_text("raise SystemExit('another placer')")
    monkeypatch.chdir(tmp_path)
    with Nurseries() as fresh:
        assert fresh.run(Call(double, (21,))).value == 42


def test_it_returns_and_tells(nurseries):
    told = []
    answer = nurseries.run(Call(double, (21,)), tell=told.append)
    assert (answer.value, answer.ended.how, told) == (42, How.RETURNED, ["on it"])
    assert answer.ended.peak_memory_mb > 10


def test_each_call_has_a_process_and_a_group_of_its_own(nurseries):
    first, second = (nurseries.run(Call(pid)).value for _ in range(2))
    assert first[0] != second[0] != os.getpid()
    assert first[1] == second[1] != os.getpid()
    assert first[2] == first[0]


@pytest.mark.parametrize(
    ("function", "how", "reason"),
    [
        (abort, How.CRASHED, "it crashed (SIGABRT): the last words"),
        (leave, How.CRASHED, "it crashed (exit code 7)"),
        (fail, How.CRASHED, "it crashed (exit code 1): ValueError: something unforeseen"),
        (ended_from_outside, How.KILLED, "it was ended from outside by SIGKILL"),
    ],
)
def test_its_end_is_told(nurseries, function, how, reason):
    answer = nurseries.run(Call(function))
    assert (answer.value, answer.ended.how, answer.ended.reason) == (None, how, reason)


def test_time_limit(nurseries):
    answer = nurseries.run(Call(wait_for_stop, seconds=0.2))
    assert (answer.value, answer.ended.how) == ("what there is so far", How.TIME)
    assert answer.ended.reason == "it ran for more than 0.2 s"


def test_who_does_not_stop_is_ended(nurseries):
    began = time.monotonic()
    answer = nurseries.run(Call(hang, seconds=0.2))
    assert (answer.value, answer.ended.how) == (None, How.TIME)
    assert time.monotonic() - began < 60


def test_memory_limit(nurseries):
    answer = nurseries.run(Call(grow, memory_mb=600))
    assert answer.value is None
    # Whichever comes first: the watch, or the allocation that fails.
    assert answer.ended.how is How.MEMORY or "MemoryError" in answer.ended.reason
    assert answer.ended.peak_memory_mb < 1000


def test_a_large_allocation_fails_at_once(nurseries):
    assert nurseries.run(Call(ask_for_much, memory_mb=600)).value == "refused"


def test_an_allocation_that_ends_the_process_is_told_as_such(nurseries):
    ended = nurseries.run(Call(abort_as_rust_does, memory_mb=600)).ended
    assert (ended.how, ended.reason) == (How.MEMORY, "it asked for more than 600 MiB")
    assert nurseries.run(Call(abort_as_rust_does)).ended.how is How.CRASHED


def test_stop(nurseries):
    stop = threading.Event()
    answer = nurseries.run(Call(wait_for_stop), tell=lambda _: stop.set(), stopped=stop.is_set)
    assert (answer.value, answer.ended.how) == ("what there is so far", How.STOPPED)
    assert nurseries.run(Call(double, (1,))).value == 2


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_close_ends_running_calls():
    made, answers = Nurseries(), []
    told = threading.Event()
    thread = threading.Thread(target=lambda: answers.append(made.run(Call(hang), tell=lambda _: told.set())))
    before = set(descendants(os.getpid()))
    thread.start()
    assert told.wait(120)
    new = [p for p in descendants(os.getpid()) if p not in before]
    assert len(new) == 2
    made.close()
    thread.join(60)
    assert answers[0].ended.how in (How.KILLED, How.STOPPED)
    assert gone(new)
    assert made.run(Call(pid)).ended.how is How.STOPPED
