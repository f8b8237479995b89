"""What the display of a batch says, in plain lines and on a terminal."""

import io

import pytest
from rich.console import Console

from placer.cli.batch_display import BatchDisplay
from placer.options import Options
from placer.plans.status import Point
from placer.studies.attempt import FailureKind, Outcome
from placer.studies.batch.jobs import Job


def job(number, name="chain"):
    return Job(
        id=f"{number:032x}", instance=name, source="", sha256="0", options=Options(method="dp"), code="0"
    )


@pytest.fixture
def display():
    return BatchDisplay(quiet=False)


def test_plain_lines(display, capsys):
    jobs = [job(i) for i in range(8)]
    with display:
        display.planned(jobs, 2, 2)
        assert (
            capsys.readouterr().err
            == "2 of 10 jobs done, 2 of them before, 0 running, 0 failed, time left not known yet\n"
        )
        for done in jobs[:5]:
            display.started(done)
            display.ended(done, Outcome(None, FailureKind.REFUSED, seconds=2.0))
        display.started(jobs[5])
        display.ended(jobs[5], Outcome(None, FailureKind.CRASHED, "it\x1b crashed", seconds=2.0))
        assert capsys.readouterr().err == "failed: chain, dp: it� crashed\n"
        display.started(jobs[6])
        assert display.headline() == (
            "8 of 10 jobs done, 2 of them before, 1 running, 1 failed, about 2 s left"
        )
        display.tick()  # too soon for another line
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err.count("\n") == 1


def test_terminal(display):
    """Best plan and bound of running jobs; names are shown, not obeyed."""
    screen = io.StringIO()
    display._console = Console(file=screen, force_terminal=True, width=120, highlight=False)
    running, silent = job(0, "[bold]\x1b[2J"), job(1, "quiet one")
    with display:
        display.planned([running, silent], 0, 2)
        display.started(running)
        display.started(silent)
        display.progressed(running.id, Point(3.5, 4.0, 3.0), "searching")
        display._next = 0.0
        display.tick()
    text = screen.getvalue()
    assert "0 of 2 jobs done, 2 running, 0 failed" in text
    assert "searching  best 4 ms  bound 3 ms  gap 25 %" in text
    assert "[bold]�[2J" in text
    assert "\x1b[2J" not in text
    assert "quiet one" in text
    with BatchDisplay(quiet=True) as nothing:
        nothing.planned([running], 0, 1)
        nothing.tick()
