"""Split points: torch.distributed.pipelining runs them on two processes, with the model's own result."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.exports.api import export
from placer.exports.torch_split import load_split_spec
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from placer.plans.plan import Plan
from tests.support.plans import gpus, planned, result_of

torch = pytest.importorskip("torch", reason="torch is not installed")

from tests.support.torch_models import Decoder, cut, instance_of, words  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
START = {"": "gpu0", "layers.2": "gpu1"}


def exported(tmp_path, instance, result):
    remarks = export(result, "torch-split", tmp_path / "split.json", instance=instance)
    return json.loads((tmp_path / "split.json").read_text()), remarks


def stage_weights(split, tmp_path):
    """Weights of each stage when PyTorch splits the model."""
    from torch.distributed.pipelining import pipeline

    path = tmp_path / "again.json"
    path.write_text(json.dumps(split))
    pipe = pipeline(Decoder().eval(), (words(),), split_spec=load_split_spec(path))
    return [
        sorted(name for name, _ in pipe.get_stage_module(s).named_parameters())
        for s in range(pipe.num_stages)
    ]


@pytest.mark.parametrize("by", ["operator", "module"])
def test_stages_begin_where_planned(tmp_path, by):
    instance = instance_of(Decoder().eval(), (words(),), by=by)
    split, remarks = exported(tmp_path, instance, planned(instance, cut(instance, START)))
    assert split["split_spec"] == {"layers.2": "BEGINNING"}
    assert split["stages"] == ["gpu0", "gpu1"]
    assert remarks == []
    first, second = stage_weights(split, tmp_path)
    assert {name.split(".")[0] for name in first} == {"embed", "position", "layers"}
    assert {name.rpartition(".")[0] for name in second if name.startswith("layers.")} == {
        f"layers.{i}.{m}" for i in (2, 3) for m in ("norm", "up", "down")
    }


def test_three_stages(tmp_path):
    instance = instance_of(Decoder().eval(), (words(),), devices=3)
    devices = cut(instance, {"": "gpu2", "layers.1": "gpu0", "norm": "gpu1"})
    split, _ = exported(tmp_path, instance, planned(instance, devices))
    assert split["split_spec"] == {"layers.1": "BEGINNING", "norm": "BEGINNING"}
    assert split["stages"] == ["gpu2", "gpu0", "gpu1"]
    assert [len(names) for names in stage_weights(split, tmp_path)] == [8, 18, 3]


def test_a_cut_inside_a_block_at_a_module(tmp_path):
    """``down`` of layer 1 opens the second stage: the sum goes along, the residual passes through."""
    instance = instance_of(Decoder().eval(), (words(),))
    split, _ = exported(
        tmp_path, instance, planned(instance, cut(instance, {"": "gpu0", "layers.1.down": "gpu1"}))
    )
    assert split["split_spec"] == {"layers.1.down": "BEGINNING"}
    assert "layers.1.down.weight" in stage_weights(split, tmp_path)[1]


def test_a_cut_after_a_module(tmp_path):
    """The sum of layer 1 begins no module; the stage before ends with ``layers.1.down``."""
    instance = instance_of(Decoder().eval(), (words(),))
    devices = cut(instance, START)
    last = max(v for v, origin in enumerate(instance.origin) if origin.module == "layers.1")
    devices[last] = "gpu1"
    split, remarks = exported(tmp_path, instance, planned(instance, devices))
    assert split["split_spec"] == {"layers.1.down": "END"}
    assert remarks == []
    assert "layers.2.norm.weight" in stage_weights(split, tmp_path)[1]


PIPELINE = """
import sys
import torch, torch.distributed as dist
from torch.distributed.pipelining import ScheduleGPipe, pipeline
from placer.exports.torch_split import load_split_spec
from tests.support.torch_models import Decoder, words

rank, port, path, blocks = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"tcp://127.0.0.1:{port}")
torch.manual_seed(0)
torch.set_num_threads(1)
model = Decoder(blocks).eval()
batch = torch.cat([words(), (words() + 3) % 12])
whole = model(batch)
pipe = pipeline(model, (words(),), split_spec=load_split_spec(path))
stage = pipe.build_stage(rank, torch.device("cpu"))
schedule = ScheduleGPipe(stage, n_microbatches=2)
with torch.no_grad():
    output = schedule.step(batch) if rank == 0 else schedule.step()
if rank == 1:
    torch.testing.assert_close(output, whole)
    print("equal", tuple(output.shape))
dist.destroy_process_group()
"""


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_processes_compute_the_same(tmp_path):
    instance = instance_of(Decoder().eval(), (words(),))
    exported(tmp_path, instance, planned(instance, cut(instance, START)))
    script = tmp_path / "run.py"
    script.write_text(PIPELINE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), port, tmp_path / "split.json", "4"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert "equal (4, 5, 12)" in outputs[1]


# -- plans that it cannot express ------------------------------------------------------------------


def test_a_device_returned_to_is_refused(tmp_path):
    instance = instance_of(Decoder().eval(), (words(),))
    devices = cut(instance, {"": "gpu0", "layers.1": "gpu1", "layers.3": "gpu0"})
    with pytest.raises(UsageError, match="gpu0 runs 2 separate parts"):
        exported(tmp_path, instance, planned(instance, devices, contiguous=False))
    assert not (tmp_path / "split.json").exists()


def chain(modules, devices, edges=None):
    """Instance of nodes named by their modules, and its result; ``_`` is none and ``act`` has no weights."""
    n = len(modules)
    instance = Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["gpu", "cpu"],
        time_ms=[[1.0, math.inf]] * n,
        transfer_ms=[0.1] * n,
        edges=edges or [(i, i + 1) for i in range(n - 1)],
        classes=gpus(3),
        origin=[
            Origin(module=None if m == "_" else m, parameters=() if m in ("_", "act") else (f"{m}.w{i}",))
            for i, m in enumerate(modules)
        ],
    )
    return instance, planned(instance, devices, contiguous=True)


def test_parallel_branches_are_refused(tmp_path):
    edges = [(0, 1), (0, 2), (1, 3), (2, 3)]
    instance, result = chain("abcd", ["gpu0", "gpu0", "gpu1", "gpu2"], edges=[(0, 1), (0, 2), (1, 3)])
    with pytest.raises(UsageError, match="gpu1 and gpu2 hold parallel branches"):
        exported(tmp_path, instance, result)
    instance, result = chain("abcd", ["gpu0", "gpu0", "gpu1", "gpu2"], edges=edges)
    assert exported(tmp_path, instance, result)[0]["split_spec"] == {"c": "BEGINNING", "d": "BEGINNING"}


def test_interleaved_stages_are_refused(tmp_path):
    """b comes before c in the model but runs after it: b feeds d only, c feeds both."""
    instance, result = chain("abcd", ["gpu0", "gpu1", "gpu0", "gpu1"], edges=[(0, 2), (0, 1), (2, 3), (1, 3)])
    with pytest.raises(UsageError, match="'b' comes before 'c' in the model"):
        exported(tmp_path, instance, result)


def test_a_cut_inside_one_module_is_refused(tmp_path):
    instance, result = chain(["m", "m", "m", "m"], ["gpu0", "gpu0", "gpu1", "gpu1"])
    with pytest.raises(UsageError, match="meet inside the module 'm'"):
        exported(tmp_path, instance, result)


def test_operators_between_modules_move(tmp_path):
    """No mark fits between the two operators that belong to no module."""
    instance, result = chain("a__b", ["gpu0", "gpu0", "gpu1", "gpu1"])
    split, remarks = exported(tmp_path, instance, result)
    assert split["split_spec"] == {"a": "END"}
    # gpu0 had two nodes and a transfer, gpu1 the same; then one and three.
    assert remarks == ["stages begin and end with modules (nodes moved: 1; 3.1 ms instead of 2.1 ms)"]


def test_one_module_has_one_mark(tmp_path):
    """Stage 1 is just module b; its end can be marked only by a part of it, because its beginning is."""
    instance, result = chain(["a", "b.x", "_", "c"], ["gpu0", "gpu1", "gpu2", "gpu2"])
    assert exported(tmp_path, instance, result)[0]["split_spec"] == {"b": "BEGINNING", "b.x": "END"}


def test_modules_called_twice_are_no_marks(tmp_path):
    """A mark at ``act`` would split at both calls."""
    instance, result = chain(["a", "act", "b.x", "act", "c"], ["gpu0", "gpu1", "gpu1", "gpu1", "gpu1"])
    assert exported(tmp_path, instance, result)[0]["split_spec"] == {"a": "END"}


def test_instances_without_modules_are_refused(tmp_path):
    instance, result = chain("ab", ["gpu0", "gpu1"])
    instance = instance.replace(origin=(None, None))
    with pytest.raises(UsageError, match="placer import torch"):
        exported(tmp_path, instance, result)


def test_skipping_tensors_are_said_for_training(tmp_path):
    """a feeds c past b; the backward nodes mirror that."""
    n = 3
    instance = Instance.build(
        ids=["a", "b", "c", "c'", "b'", "a'"],
        types=["gpu", "cpu"],
        time_ms=[[1.0, math.inf]] * 2 * n,
        transfer_ms=[0.1] * 2 * n,
        edges=[(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)],
        classes=gpus(3),
        backward=[False] * n + [True] * n,
        colocate=["a", "b", "c", "c", "b", "a"],
        origin=[Origin(module=m, parameters=(f"{m}.w",)) for m in "abc"] + [None] * n,
    )
    result = planned(instance, ["gpu0", "gpu1", "gpu2", "gpu2", "gpu1", "gpu0"])
    split, remarks = exported(tmp_path, instance, result)
    assert list(split["split_spec"]) == ["b", "c"]
    assert remarks == ["1 tensors skip a stage; torch.distributed.pipelining has no backward pass for them"]


def test_other_files_are_no_splits(tmp_path):
    path = tmp_path / "x.json"
    for text, match in (
        ('{"split_spec": {}}', "not a split"),
        ('{"format": "placer-torch-split", "split_spec": {"a": "MIDDLE"}}', "'MIDDLE' is no split point"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            load_split_spec(path)


class Tied(torch.nn.Module):
    """An embedding that is called for both sides and is the head as well."""

    def __init__(self):
        super().__init__()
        self.shared = torch.nn.Embedding(50, 16)
        self.encoder = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))
        self.decoder = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))
        self.head = torch.nn.Linear(16, 50, bias=False)
        self.head.weight = self.shared.weight

    def forward(self, source, target):
        x = self.shared(source)
        for layer in self.encoder:
            x = layer(x)
        y = self.shared(target) + x
        for layer in self.decoder:
            y = layer(y)
        return self.head(y)


def test_copies_of_tied_weights_are_split(tmp_path):
    """The plan exports; with copies, as the remark says, the stages compute what the model computes."""
    from torch.distributed.pipelining import pipeline

    import placer

    side = torch.zeros(1, 8, dtype=torch.long)
    instance = placer.import_torch((Tied(), (side, side)), cluster="a100:2", by="module")
    device = np.array([v.startswith(("decoder", "head")) for v in instance.ids], dtype=np.int64)
    result = result_of(instance, Plan(device))
    split, remarks = exported(tmp_path, instance, result)
    assert split["split_spec"] == {"decoder.0": "BEGINNING"}
    (copies,) = [r for r in remarks if "give each a copy" in r]
    assert "model.head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())" in copies
    with pytest.raises(UsageError, match="--tied colocate"):
        export(result, "device-map", tmp_path / "map.json", instance=instance)
    model = Tied().eval()
    model.head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())
    pipe = pipeline(model, (side, side), split_spec=load_split_spec(tmp_path / "split.json"))
    assert torch.equal(pipe(side, side)[0], model(side, side))
