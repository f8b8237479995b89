"""Measured times: CSV, ONNX Runtime's profile, and times measured here."""

import json

import pytest

from placer.errors import InputError, UsageError
from placer.imports.catalogue import find_cluster
from placer.imports.profiles import kernel_times, read_profiles, times_to_csv

CLUSTER = find_cluster("t4:2,epyc-7763:1")


def event(name, microseconds, **more):
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {}, **more}


def write(tmp_path, content):
    path = tmp_path / "times"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_csv_round_trip(tmp_path):
    """Names that spreadsheets would run are marked in the file, and are themselves again when read."""
    path = write(tmp_path, times_to_csv({"a": 1.5, "b,c": 0.25, "=c": 2.0}, "t4"))
    (profile,) = read_profiles([path], CLUSTER)
    assert (profile.type, profile.ms) == ("t4", {"a": 1.5, "b,c": 0.25, "=c": 2.0})
    (profile,) = read_profiles([f"epyc-7763={path}"], CLUSTER)
    assert profile.type == "epyc-7763"


def test_runtime_profiles_take_the_median(tmp_path):
    events = [event("conv", 3000), event("conv", 1000), event("conv", 1200), event("", 5)]
    events += [
        {"cat": "Session", "name": "model_run", "dur": 9},
        {"cat": "Node", "name": "conv_fence_before"},
    ]
    assert kernel_times(events, "f") == {"conv": 1.2}
    assert kernel_times(events, "f", skip=1) == {"conv": 1.1}
    path = write(tmp_path, events)
    with pytest.raises(UsageError, match="say which device it was measured on"):
        read_profiles([path], CLUSTER)
    (profile,) = read_profiles([f"t4={path}"], CLUSTER)
    assert profile.ms == {"conv": 1.2}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "expected the columns node,type,ms"),
        ("a,b\n", "expected the columns node,type,ms, got 'a,b'"),
        ("node,type,ms\n", "no measured times"),
        ("node,type,ms\na,t4\n", "line 2: expected 3 cells, got 2"),
        ("node,type,ms\na,t4,x\n", "line 2: expected milliseconds"),
        ("node,type,ms\na,t4,-1\n", "line 2: expected milliseconds"),
        ("node,type,ms\na,t4,nan\n", "line 2: expected milliseconds"),
        ("node,type,ms\na,t4,1\na,t4,2\n", "line 3: 'a' is measured twice"),
    ],
)
def test_bad_csv(tmp_path, content, rule):
    path = write(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_profiles([path], CLUSTER)
    assert rule in str(error.value)


@pytest.mark.parametrize("content", [{}, [], [1], [event("", 3)], {"traceEvents": 3}])
def test_other_json(tmp_path, content):
    with pytest.raises(InputError, match="not a profile of ONNX Runtime"):
        read_profiles([f"t4={write(tmp_path, content)}"], CLUSTER)


def test_events_without_duration(tmp_path):
    with pytest.raises(InputError, match="has no duration"):
        read_profiles([f"t4={write(tmp_path, [event('a', 'x')])}"], CLUSTER)


def test_types_that_the_cluster_lacks(tmp_path):
    with pytest.raises(UsageError, match="no device type 'a100'; choose from t4, epyc-7763"):
        read_profiles([write(tmp_path, "node,type,ms\na,a100,1\n")], CLUSTER)


def test_measured_times_win_and_scale_the_backward_pass(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    from placer.imports.api import import_onnx

    def instance(text):
        path = write(tmp_path, "node,type,ms\n" + text)
        return import_onnx("light:squeezenet", cluster=CLUSTER, training=True, profiles=[path])

    modelled = import_onnx("light:squeezenet", cluster=CLUSTER, training=True)
    found = instance("r3,t4,7.0\nelsewhere,t4,1\n")
    at, t4, host = found.index, found.types.index("t4"), found.types.index("epyc-7763")
    assert found.time_ms[at["r3"], t4] == 7.0
    assert found.time_ms[at["r3/backward"], t4] == 14.0  # weights and input need a gradient
    assert found.time_ms[at["r3"], host] == modelled.time_ms[at["r3"], host]
    assert found.time_ms[at["r5"], t4] == modelled.time_ms[at["r5"], t4]
    note = "measured times of 1 of 66 operators on t4; 1 measured names are not in the model"
    assert note in found.source.notes
    named = instance("n3,t4,3.0\n")  # the operator's own name; its id is that of its first output
    assert named.time_ms[at["r3"], t4] == 3.0
    both = instance("r3,t4,7.0\nr3/backward,t4,9.0\n")
    assert both.time_ms[at["r3/backward"], t4] == 9.0
    with pytest.raises(InputError, match="measures no operator of this model"):
        instance("elsewhere,t4,1\n")


def test_measured_here():
    """Every operator has a time; sixteen samples take more than twice as long as one, whatever else runs."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'profile')")
    from placer.imports.onnx_model import read_onnx
    from placer.measuring.onnx_kernels import profile_onnx

    one = profile_onnx("light:squeezenet", repeats=2, warmup=1)
    assert list(one) == [o.id for o in read_onnx("light:squeezenet").operators]
    many = profile_onnx("light:squeezenet", dims={"data_0:0": 16}, repeats=2, warmup=1)
    assert sum(many.values()) > 2 * sum(one.values())


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"inputs": {"nothing": 1}}, "has no input 'nothing'; it has data_0"),
    ],
)
def test_measuring_refuses(options, rule):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'profile')")
    from placer.measuring.onnx_kernels import profile_onnx

    with pytest.raises(UsageError, match=rule):
        profile_onnx("light:squeezenet", **options)
