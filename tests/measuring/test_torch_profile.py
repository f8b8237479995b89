"""PyTorch models measured on the host: every operator by name, modules, memory."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")

import placer  # noqa: E402
from placer.errors import InputError, UsageError  # noqa: E402
from placer.imports.profiles import BACKWARD, times_to_csv  # noqa: E402
from placer.imports.torch_model import read_torch  # noqa: E402
from placer.measuring.torch_profile import profile_torch  # noqa: E402
from placer.measuring.torch_run import peak_bytes  # noqa: E402

QUICK = {"repeats": 2, "warmup": 0}


class Net(torch.nn.Module):
    """An embedding, a frozen layer beside it, two layers, and sums in the model itself."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(50, 64)
        self.frozen = torch.nn.Linear(64, 64).requires_grad_(False)
        self.parts = torch.nn.ModuleList([torch.nn.Linear(64, 64), torch.nn.Linear(64, 32)])

    def forward(self, tokens, mask):
        x = self.table(tokens)
        x = x + self.frozen(x) * mask
        for part in self.parts:
            x = torch.relu(part(x))
        return {"scores": x}


def net():
    return Net(), (torch.randint(0, 50, (2, 30)),), {"mask": torch.ones(2, 30, 1)}


def test_every_operator_is_measured_by_its_name():
    found = profile_torch(net, **QUICK)
    model = read_torch(net)
    forward = {name for name in found.ms if not name.endswith(BACKWARD)}
    assert forward == {o.id for o in model.operators}
    assert all(ms > 0 for ms in found.ms.values())
    trained = {name.removesuffix(BACKWARD) for name in found.ms.keys() - forward}
    ops = {o.id: o.op for o in model.operators}
    assert sum(ops[name] == "linear" for name in trained) == 3  # gradients pass through the frozen one
    assert sum(ops[name] == "embedding" for name in trained) == 1
    assert found.training_ms > 0


def test_without_what_is_trained_there_is_no_backward_pass():
    found = profile_torch(lambda: (torch.nn.Linear(4, 4).requires_grad_(False), (torch.ones(2, 4),)), **QUICK)
    assert not any(name.endswith(BACKWARD) for name in found.ms)
    assert found.training_ms is None
    assert found.training_bytes is None


def test_modules_add_up():
    found = profile_torch(net, **QUICK)
    rows = found.by_module()
    assert sum(rows.values()) == pytest.approx(sum(found.ms.values()))
    assert {"table", "frozen", "parts.0", "parts.1", "."} <= rows.keys()
    assert rows["table" + BACKWARD] > 0


def test_rows_of_modules_become_times_of_their_operators(tmp_path):
    """Whatever the shares, the sums are those that were measured."""
    rows = profile_torch(net, **QUICK).by_module()
    file = tmp_path / "times.csv"
    file.write_text(times_to_csv(rows, "cpu-core"))
    options = {"cluster": "4xcpu-core", "profiles": [str(file)]}
    graph = placer.import_torch(net, **options)
    ahead = sum(ms for name, ms in rows.items() if not name.endswith(BACKWARD))
    assert graph.time_ms.sum() == pytest.approx(ahead, rel=1e-4)
    training = placer.import_torch(net, training=True, **options)
    assert training.time_ms.sum() == pytest.approx(sum(rows.values()), rel=1e-4)


def test_peak_memory_is_that_of_the_tensors_alive():
    place = torch.device("cpu")
    with peak_bytes(place) as peak:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b.view(10, 100)  # the same bytes
        d = torch.zeros(500)
    assert peak == [8000.0]
    del b, c, d
    found = profile_torch(
        lambda: (torch.nn.Sequential(*[torch.nn.Linear(100, 100)] * 3), (torch.ones(50, 100),)), **QUICK
    )
    assert found.forward_bytes == 2 * 50 * 100 * 4  # what a layer reads and what it writes
    assert found.training_bytes > found.forward_bytes


def test_repeated_runs_give_the_same_outputs_as_the_model():
    """The graph that is timed computes what the model computes, so nothing was left out."""
    from placer.imports.torch_export import exported

    found = exported(net, device="cpu")
    args, kwargs = found.program.example_inputs
    with torch.no_grad():
        assert torch.equal(
            found.program.module()(*args, **kwargs)["scores"], found.module(*args, **kwargs)["scores"]
        )


@pytest.mark.parametrize(
    ("options", "kind", "rule"),
    [
        ({"repeats": 0}, UsageError, "repeats must be at least 1"),
        ({"device": "cuda:99"}, UsageError, "this machine has"),
        ({"device": "nonsense"}, UsageError, "knows no such device"),
        ({"device": "meta"}, UsageError, "only cpu and cuda"),
    ],
)
def test_refused(options, kind, rule):
    with pytest.raises(kind, match=rule):
        profile_torch(net, **{**QUICK, **options})


def test_tensors_elsewhere_are_refused():
    def elsewhere():
        return torch.nn.Linear(4, 4, device="meta"), (torch.ones(2, 4, device="meta"),)

    with pytest.raises(InputError, match="leave the device to the default"):
        profile_torch(elsewhere, **QUICK)


def test_threads_are_as_before():
    before = torch.get_num_threads()
    profile_torch(net, threads=1, **QUICK)
    assert torch.get_num_threads() == before
    assert np.isfinite(profile_torch(net, **QUICK).forward_ms)
