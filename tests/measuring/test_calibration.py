"""A device whose figures are known is found again from the times that it takes."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")

from placer.errors import InputError, UsageError
from placer.imports.catalogue import catalogue, entry_toml, find_cluster, find_device
from placer.imports.gradients import backward_pass
from placer.imports.model import Kind
from placer.imports.onnx_model import read_onnx
from placer.imports.profiles import BACKWARD, Profile
from placer.imports.roofline import time_ms
from placer.measuring.calibration import calibrate, measured

T4 = catalogue().devices["t4"]


def profile_of(model, entry, *, backward=False):
    """What the model would take on a device, by another route than the fit's."""
    behind = backward_pass(model)
    ms = {}
    for i, o in enumerate(model.operators):
        if o.kind is Kind.VIEW:
            continue
        more = (o.kernels - 1) * entry.launch_ms
        ms[o.id] = time_ms(entry, "fp32", o.flops or 0.0, o.moved_bytes) + more
        factor = behind.factor[i]
        if backward and factor:
            ms[o.id + BACKWARD] = (
                time_ms(entry, "fp32", factor * (o.flops or 0), factor * o.moved_bytes) + more
            )
    return Profile("made", "t4", ms)


def observation(name, entry, **more):
    model = read_onnx(f"light:{name}")
    return measured(model, backward_pass(model), "t4", T4, profile_of(model, entry, **more))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    "figures",
    [
        {"compute_efficiency": 0.31, "bandwidth_efficiency": 0.55, "launch_ms": 0.02},
        {"compute_efficiency": 0.09, "bandwidth_efficiency": 0.7, "launch_ms": 0.001},
    ],
)
def test_known_figures_are_found(figures, backward):
    true = T4.model_copy(update=figures)
    models = [observation(name, true, backward=backward) for name in ("squeezenet", "resnet50")]
    found = calibrate(T4, models)
    for name, value in figures.items():
        assert getattr(found.device, name) == pytest.approx(value, rel=0.001)
    assert all(abs(d.whole) < 1e-3 and d.each < 1e-3 for d in found.after)
    assert all(b.each > 10 * a.each for b, a in zip(found.before, found.after, strict=True))


def test_a_device_faster_than_its_peaks_gets_higher_ones():
    true = T4.model_copy(
        update={
            "peak_tflops": {"fp32": 4 * T4.peak_tflops["fp32"]},
            "compute_efficiency": 0.8,
            "bandwidth_gb_per_s": 10 * T4.bandwidth_gb_per_s,
        }
    )
    found = calibrate(T4, [observation("resnet50", true)])
    assert found.device.compute_efficiency == 1
    assert found.device.peak_tflops["fp32"] == pytest.approx(3.2 * T4.peak_tflops["fp32"], rel=0.03)
    assert found.device.bandwidth_gb_per_s == pytest.approx(8 * T4.bandwidth_gb_per_s, rel=0.03)
    assert found.device.peak_tflops["fp16"] == T4.peak_tflops["fp16"]  # nobody measured that


def test_what_nothing_depends_on_stays_as_the_catalogue_says():
    """With so little bandwidth, the time of no operator says how fast the device computes."""
    found = calibrate(T4, [observation("squeezenet", T4.model_copy(update={"bandwidth_efficiency": 1e-3}))])
    assert found.device.bandwidth_efficiency == pytest.approx(1e-3, rel=0.01)
    assert found.device.compute_efficiency == pytest.approx(T4.compute_efficiency, rel=0.01)


def test_deviations_are_those_of_the_definition():
    """Recomputed from the times of the roofline."""
    true = T4.model_copy(update={"compute_efficiency": 0.2})
    model = read_onnx("light:squeezenet")
    ms = np.array(list(profile_of(model, true).ms.values()))
    before = np.array(list(profile_of(model, T4).ms.values()))
    found = calibrate(T4, [observation("squeezenet", true)])
    assert found.before[0].whole == pytest.approx(before.sum() / ms.sum() - 1)
    assert found.before[0].each == pytest.approx(np.abs(before - ms).sum() / ms.sum())


def test_nothing_measured_is_refused():
    model = read_onnx("light:squeezenet")
    with pytest.raises(InputError, match="it measures no operator of this model"):
        measured(model, backward_pass(model), "t4", T4, Profile("other.csv", "t4", {"elsewhere": 1.0}))


def test_files_replace_entries_of_the_catalogue(tmp_path):
    """What is written is read again, in counts of devices and in clusters of the catalogue."""
    entry = T4.model_copy(update={"launch_ms": 0.25, "description": 'a "quoted" name\n', "source": "here"})
    file = tmp_path / "mine.toml"
    file.write_text(entry_toml("devices", "t4", entry))
    assert find_device(f"{file}:t4") == ("t4", entry)
    assert find_device("t4") == ("t4", T4)
    for text in ("2xt4", "t4:2", "4xt4"):
        assert find_cluster(f"{file}:{text}").types["t4"] == entry
    with pytest.raises(UsageError, match="name one of its clusters"):
        find_cluster(str(file))
    with pytest.raises(InputError, match="no cluster of the catalogue"):
        find_cluster(f"{file}:2xt5")
    with pytest.raises(UsageError, match="no device 't5'"):
        find_device(f"{file}:t5")
