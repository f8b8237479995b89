"""Sweeps: what is varied, that more never costs more, and that bounds are shared."""

import json

import pytest

from placer.cli import main
from placer.errors import UsageError
from placer.formats.files import load, load_result, save
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.plans.check import check
from placer.studies.axes import Axis, parse_axis, variant
from placer.studies.sweep import sweep
from tests.support.brute import throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import random_instance


def chain() -> Instance:
    """Four nodes of 1 ms and 10 bytes each; an edge takes 1 ms over the link."""
    return Instance.build(
        ids=["a", "b", "c", "d"],
        types=["gpu"],
        time_ms=[[1.0]] * 4,
        memory_bytes=[10.0] * 4,
        output_bytes=[1e6] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, 40.0, Link(bandwidth_bytes_per_s=1e9))],
    )


def test_objective_falls_with_devices_and_bandwidth():
    table = sweep(chain(), ["devices=1..4", "bandwidth=x1,x10,x1000"], gap=0.0)
    by = {(p.settings["devices"], p.settings["bandwidth"]): p.objective for p in table.points}
    assert by[1, 1] == 4.0
    assert by[2, 1] == 3.0
    assert by[2, 10] == pytest.approx(2.1)
    assert by[4, 1000] == pytest.approx(1.002)
    for (n, x), value in by.items():
        assert all(value >= by[m, y] for m, y in by if m >= n and y >= x)
    assert table.axes == ["devices", "bandwidth"]
    assert table.points[0].moved is None
    assert "devices 4 is within 5 % of the best (1.002 ms at devices 4)" in " ".join(table.findings)


def test_memory_that_does_not_suffice_is_a_point_without_a_plan():
    table = sweep(chain(), ["memory=10,20,40"])
    assert [p.status.value for p in table.points] == ["infeasible", "optimal", "optimal"]
    assert "need 40 B together" in table.points[0].message


@pytest.mark.parametrize("seed", seeds(15))
def test_points_are_optimal(seed):
    instance = random_instance(seed, nodes=5, training=bool(seed & 1))
    table = sweep(instance, [Axis("devices", "acc", (0.0, 1.0, 2.0, 3.0))], method="milp", gap=0.0)
    for point, kept in zip(table.points, table.results, strict=True):
        if kept is None:
            continue
        made, result = kept
        best = throughput_optima(made)["ordered", "1f1b", "sequential"]
        assert (float("inf") if point.objective is None else point.objective) == pytest.approx(best, abs=1e-9)
        assert check(made, result) == []


def test_bounds_are_shared():
    """A method without a bound gets that of a point with more devices, where one is known."""
    table = sweep(chain(), ["devices=1..2"], method="local-search")
    assert [p.bound for p in table.points] == [None, None]
    table = sweep(chain(), ["devices=1..3"], method="dp", gap=0.0)
    bounds = [p.bound for p in table.points]
    assert bounds == sorted(bounds, reverse=True)


def test_variants():
    instance = chain()
    assert variant(instance, [(parse_axis("devices=7"), 7.0)]).classes[0].count == 7
    assert variant(instance, [(parse_axis("memory=x0.5"), 0.5)]).classes[0].memory_limit_bytes == 20.0
    assert variant(instance, [(parse_axis("memory=1KiB"), 1024.0)]).classes[0].memory_limit_bytes == 1024.0
    link = variant(instance, [(parse_axis("bandwidth=x2"), 2.0)]).classes[0].link
    assert (link.bandwidth_bytes_per_s, link.transfer_scale) == (2e9, 0.5)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("devices=2..5", (2, 3, 4, 5)),
        ("devices=2..8:3", (2, 5, 8)),
        ("devices:gpu=8,2", (2, 8)),
        ("memory=16GiB", (16 * 2**30,)),
        ("bandwidth=12.5GB/s,1e9", (1e9, 12.5e9)),
        ("memory=x0.5,x2", (0.5, 2)),
    ],
)
def test_notation(text, values):
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    "text",
    ["devices", "cores=2", "devices=x2", "devices=1.5", "devices=5..2", "devices=1..2:0",
     "devices=1..9999999", "memory=8GiBB", "memory=0", "memory=-1", "memory=x1,2", "bandwidth="],
)  # fmt: skip
def test_bad_notation_is_refused(text):
    with pytest.raises(UsageError, match="option vary"):
        parse_axis(text)


def test_axes_that_do_not_fit_are_refused():
    two = chain().replace(
        classes=(*chain().classes, DeviceClass("tpu", "gpu", 1, link=chain().classes[0].link))
    )
    with pytest.raises(UsageError, match="devices:gpu, devices:tpu"):
        sweep(two, ["devices=1,2"])
    with pytest.raises(UsageError, match="no class 'npu'"):
        sweep(two, ["devices:npu=1"])
    with pytest.raises(UsageError, match="each one once"):
        sweep(two, ["devices:gpu=1", "devices:gpu=2"])
    direct = random_instance(3).replace(transfer_ms=random_instance(3).transfer_ms + 1)
    with pytest.raises(UsageError, match="by factors"):
        sweep(direct, ["bandwidth=1e9"])


def test_command_line(tmp_path, capsys):
    save(chain(), tmp_path / "chain.json")
    folder = tmp_path / "points"
    out = tmp_path / "sweep.csv"
    code = main(
        [
            "sweep",
            str(tmp_path / "chain.json"),
            "--vary",
            "devices=1..3",
            "--results",
            str(folder),
            "--out",
            str(out),
        ]
    )
    assert code == 0
    shown = capsys.readouterr()
    assert "devices 1" in shown.err
    assert "within 5 % of the best" in shown.out
    assert out.read_text().splitlines()[0].startswith("devices,status,objective")
    assert len(out.read_text().splitlines()) == 4
    for k in range(3):
        made = load(folder / f"point-{k:03d}.instance.json")
        assert check(made, load_result(folder / f"point-{k:03d}.result.json")) == []
    assert main(["sweep", str(tmp_path / "chain.json"), "--vary", "devices=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"][0]["objective"] == 4.0
    assert main(["sweep", str(tmp_path / "chain.json"), "--vary", "nonsense"]) == 2
    assert "option vary" in capsys.readouterr().err
