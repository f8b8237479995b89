"""What ``torch.export`` refuses is told with the line of code; long exports tell what they do, and stop."""

import os
import re
import signal
import subprocess
import sys

import pytest

from placer.errors import InputError

pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")

from placer.imports.model import Kind
from placer.imports.torch_model import read_torch

MODEL = """import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        {line}
        return y


def make():
    return Model(), (torch.randn(2, 4),)
"""
CASES = {
    "if y.sum() > 0: y = -y": "what the model does depends on data at {file}:12: if y.sum() > 0: y = -y",
    "for _ in range(int(y.argmax())): y = y + 1": "depends on data at {file}:12: for _ in range(int",
    "y = self.layer(y[y[:, 0] > 0])": "a shape depends on data: [u0, 4], at {file}:12: y = self.layer",
    "y = torch.from_numpy(y.numpy())": "cannot trace the model at {file}:12: y = torch.from_numpy",
    "y = y @ y": "cannot trace the model at {file}:12: y = y @ y (RuntimeError",
}


@pytest.mark.parametrize("line", CASES)
def test_refusals_name_the_line(line, tmp_path, capfd):
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(line=line))
    with pytest.raises(InputError) as error:
        read_torch(f"{path}:make")
    assert CASES[line].format(file=path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert capfd.readouterr().err == ""  # nothing of torch's own beside it


def test_what_is_done_is_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(line="y = self.layer(y)"))
    told = []
    read_torch(f"{path}:make", watch=told.append)
    assert "tracing, 2 calls of modules: layer" in told
    count = len([t for t in told if t.startswith("operator ")])
    assert told[-1] == f"operator {count - 1} of {count}"
    order = [told.index("making the model"), told.index("tracing, 1 calls of modules: Model")]
    assert order == sorted(order)


@pytest.mark.slow
def test_a_long_export_tells_and_stops(tmp_path):
    """A loop that torch unrolls for hours: a line within seconds, and Ctrl-C ends it without a traceback."""
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(line="for _ in range(10**7): y = y + 1"))
    command = [sys.executable, "-m", "placer", "import", "torch", f"{path}:make", "--devices", "t4:2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    told = next(line for line in process.stderr if "tracing" in line)
    assert re.search(r" s  tracing, \d+ calls of (modules: layer|functions: Model)\n$", told)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    assert rest.splitlines()[-1] == "placer: interrupted"
    assert "Traceback" not in rest


SCAN = """import torch
from torch import nn


class Scan(nn.Module):
    def forward(self, x):
        state = x[:, 0]
        for i in range(x.shape[1]):
            state = state * 0.9 + x[:, i]
        return state


def make():
    parts = (nn.Sequential(nn.Linear(4, 4), Last({length})) for _ in range(3))
    return nn.Sequential(*parts), (torch.zeros(2, {length}, 4),)


class Last(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.length, self.scan = length, Scan()

    def forward(self, x):
        return self.scan(x)[:, None].expand(-1, self.length, -1)
"""


def test_a_loop_that_would_not_end_is_told_early(tmp_path, monkeypatch):
    """Three modules of 60 passes with three calls each: 540, known in the first of them."""
    from placer.imports import torch_tracing

    path = tmp_path / "mine.py"
    path.write_text(SCAN.format(length=60))
    monkeypatch.setattr(torch_tracing, "MOST_CALLS", 2000)
    assert len(read_torch(f"{path}:make").operators) > 3 * 60 * 3
    monkeypatch.setattr(torch_tracing, "MOST_CALLS", 500)
    told = []
    with pytest.raises(InputError) as error:
        read_torch(f"{path}:make", watch=told.append)
    text = str(error.value)
    assert "0.1.scan, one of 3 modules Scan, makes 167 calls" in text
    assert f"(at {path}:9: state = state * 0.9 + x[:, i])" in text
    assert told[-1].endswith("calls of modules: 0.1.scan")


def test_weights_that_a_constructor_puts_on_the_processor():
    """Old constructors heed no default device; such weights, and those they are tied to, are moved."""
    import torch

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(8, 8)
            self.own = torch.nn.Parameter(torch.FloatTensor(8, 8))
            self.tied = self.own
            self.register_buffer("shift", torch.FloatTensor(8))

        def forward(self, x):
            return (self.first(x) @ self.own + self.shift) @ self.tied

    model = read_torch(lambda: (Mixed(), (torch.zeros(2, 8),)))
    assert model.parameters == 8 * 8 + 8 + 8 * 8
    assert model.flops(Kind.PRODUCT) == 3 * 2 * (2 * 8 * 8) + 2 * 8
