"""Training with virtual stages on two processes: loss and gradients of the model that is not split."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import placer
from placer.errors import UsageError
from placer.exports.api import export
from placer.plans.check import check
from placer.plans.plan import Plan
from tests.support.plans import result_of

torch = pytest.importorskip("torch", reason="torch is not installed")

from tests.exports.test_torch_split import free_port  # noqa: E402
from tests.support.torch_models import Decoder, words  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FIRST = (0, 1, 4, 6)
"""First layer of each of four virtual stages, two on each of two devices: 1, 3, 2 and 2 layers."""


def planned(first=FIRST, layers=8):
    """A plan of a decoder in training, and its instance."""
    instance = placer.import_torch(
        (Decoder(layers), (words(),)), cluster="a100:2", by="module", training=True, microbatches=4
    )
    stage, at = {}, 0
    for name, origin, back in zip(instance.ids, instance.origin, instance.backward, strict=True):
        if back:
            continue
        module = "" if origin is None or origin.module is None else origin.module
        if module.startswith("layers."):
            at = int(np.searchsorted(first, int(module.split(".")[1]), side="right")) - 1
        stage[name] = len(first) - 1 if module.startswith(("norm", "head")) else at
    of = np.array([stage[name.removesuffix("/backward")] for name in instance.ids])
    plan = Plan(of % 2, stages=(0, 1), chunk=of // 2)
    return instance, result_of(instance, plan, objective="step", virtual_stages=2)


def test_two_virtual_stages_on_each_rank(tmp_path):
    instance, result = planned()
    assert check(instance, result) == []
    remarks = export(result, "torch-split", tmp_path / "split.json", instance=instance)
    assert remarks == []
    assert json.loads((tmp_path / "split.json").read_text()) == {
        "format": "placer-torch-split",
        "version": 1,
        "split_spec": {f"layers.{i}": "BEGINNING" for i in FIRST[1:]},
        "stages": ["a100-0", "a100-1", "a100-0", "a100-1"],
        "schedule": "Interleaved1F1B",
        "microbatches": 4,
    }


def test_empty_virtual_stages_are_refused(tmp_path):
    instance, result = planned((0, 1, 1, 6))
    with pytest.raises(UsageError, match="virtual stage 2, on a100-1, is empty"):
        export(result, "torch-split", tmp_path / "split.json", instance=instance)


TRAINING = """
import json, sys
import torch, torch.distributed as dist
from torch.distributed.pipelining import pipeline
from torch.distributed.pipelining.schedules import get_schedule_class
from placer.exports.torch_split import load_split_spec
from tests.support.torch_models import Decoder, words

def loss_of(output, target):
    return torch.nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())

rank, port, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"tcp://127.0.0.1:{port}")
torch.set_num_threads(1)
torch.manual_seed(0)
model = Decoder(8)
plan = json.load(open(path))
count = plan["microbatches"]
batch = torch.cat([(words() + k) % 12 for k in range(count)])
target = (batch + 1) % 12
whole = loss_of(model(batch), target)
whole.backward()
right = {name: p.grad.clone() for name, p in model.named_parameters()}
model.zero_grad()

pipe = pipeline(model, (words(),), split_spec=load_split_spec(path))
places = [s for s in range(len(plan["stages"])) if s % 2 == rank]
stages = [pipe.build_stage(s, torch.device("cpu")) for s in places]
schedule = get_schedule_class(plan["schedule"])(stages, n_microbatches=count, loss_fn=loss_of)
losses = []
schedule.step(*[batch] * (rank == 0), target=target if rank == 1 else None, losses=losses)
if rank == 1:
    torch.testing.assert_close(torch.stack(losses).mean(), whole)
names = set()
for stage in stages:
    for name, p in stage.submod.named_parameters():
        torch.testing.assert_close(p.grad, right[name])
        names.add(name)
print("layers", *sorted({name.split(".")[1] for name in names if name.startswith("layers.")}))
print("others", *sorted({name.split(".")[0] for name in names if not name.startswith("layers.")}))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_loss_and_gradients_of_the_whole_model(tmp_path):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    instance, result = planned()
    export(result, "torch-split", tmp_path / "split.json", instance=instance)
    (tmp_path / "run.py").write_text(TRAINING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, tmp_path / "run.py", str(rank), port, tmp_path / "split.json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert "layers 0 4 5\nothers embed position" in outputs[0]
    assert "layers 1 2 3 6 7\nothers head norm" in outputs[1]
