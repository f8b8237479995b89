"""Limits hold whatever a method does: what it told of is kept, and it is ended."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import placer
from placer.methods.registry import METHODS, MethodInfo
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.guard import Kept
from placer.search.run import Outcome, Run, Stopped
from tests.support.stubborn import chain

SLOW_MACHINE_S = 20.0
"""What starting an interpreter and loading libraries may take on a busy machine."""


def solve(method, seconds):
    """Solve in a process of its own; the result, or the error output."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.stubborn", method, str(seconds)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


def test_the_clock_ends_what_does_not_look_at_it():
    result = solve("sleeps", 1.0)
    assert (result["status"], result["stop"]) == ("feasible", "time limit")
    assert result["bound"] == 1.0
    assert result["assignment"] is not None
    assert 1.0 <= result["runtime_s"] < SLOW_MACHINE_S
    assert "sleep" in result["message"]


def test_the_stop_button_ends_what_does_not_look_at_it():
    result = solve("interrupted", 1.0)
    assert (result["status"], result["stop"]) == ("feasible", "interrupted")
    assert result["runtime_s"] < SLOW_MACHINE_S


def test_memory_is_watched():
    result = solve("eats", 60.0)
    assert (result["status"], result["stop"]) == ("feasible", "memory limit")
    assert result["bound"] == 1.0


def test_failures_are_those_of_the_fork():
    text = solve("fails", 60.0)
    assert text.rstrip().endswith("ZeroDivisionError: in the fork")
    assert "stubborn.py" in text  # where it happened


def test_a_crash_is_an_error_that_says_how():
    assert "the search was ended by SIGSEGV" in solve("dies", 60.0)


@pytest.mark.parametrize(
    ("error", "stop"), [(MemoryError(), "memory limit"), (Stopped(Stop.TIME_LIMIT), "time limit")]
)
def test_without_a_fork_plans_are_kept_as_well(monkeypatch, error, stop):
    def method(instance, options, run):
        run.keep(Plan(np.zeros(instance.n, dtype=np.int64)))
        run.report(bound_ms=1.0)
        raise error

    monkeypatch.setattr(sys.modules[__name__], "method", method, raising=False)
    monkeypatch.setitem(METHODS, "test", MethodInfo("test", "", throughput=f"{__name__}:method"))
    result = placer.solve(chain(), method="test")
    assert (result.status, result.stop, result.bound) == ("feasible", stop, 1.0)


def test_the_best_plan_that_holds_is_kept():
    instance, options = chain(), Options()
    kept = Kept(instance, options, Run())
    for device in ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]):  # the third is not contiguous
        kept.take(Plan(np.array(device)))
    assert kept.best().device.tolist() == [0, 0, 1, 1]
    empty = Outcome(Stop.TIME_LIMIT)
    assert kept.completed(empty).plan is kept.completed(empty).plan is not None
    assert kept.completed(Outcome(Stop.FINISHED)).plan is None


def supervised(code):
    """Start supervised work in a process of its own; it says 'ready' when it begins."""
    script = f"""
        import sys
        from placer.signals import supervised, stop_on_signals
        def work():
            import ctypes, time
            print("ready", flush=True)
            {code}
        sys.exit(supervised(work))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", ["time.sleep(60)", "ctypes.PyDLL(None).sleep(60)"])
def test_signals_act_at_once_even_in_native_code(number, code):
    process = supervised(code)
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < SLOW_MACHINE_S
    assert process.returncode == 130
    assert err == "placer: interrupted\n"


def test_exit_codes_pass_through_and_the_worker_dies_with_its_supervisor():
    process = supervised("return 7")
    process.communicate(timeout=30)
    assert process.returncode == 7
    process = supervised("import os; print(os.getpid(), flush=True); time.sleep(60)")
    assert process.stdout.readline() == "ready\n"
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(200):
        if not os.path.exists(f"/proc/{worker}"):
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker lives on")


@pytest.mark.parametrize("milliseconds", [60, 150, 300, 500, 800])
def test_a_signal_in_the_first_second_is_no_traceback(milliseconds):
    process = subprocess.Popen(
        [sys.executable, "-m", "placer", "devices"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert b"placer/" not in err
    if process.returncode != 1:  # of an interpreter that was not there yet: nobody can catch a signal before
        assert process.returncode in (0, 130, -signal.SIGINT)
