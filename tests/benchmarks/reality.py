"""Does a plan hold in reality?  Predicted against measured time per sample, on two cores of this machine.

    python -m tests.benchmarks.reality [MODEL ...] [--rounds N] [--samples N] [--json FILE]

Each model (a ResNet-50, a MobileNetV2 and a transformer with random weights) is profiled by operators,
planned for two devices, exported as two parts, and run as a pipeline of two processes, pinned to a core each,
with a single-threaded ONNX Runtime, which hand tensors over through shared memory.  Profiling runs on both
cores at once, because in the pipeline both are busy.  Rounds of profile and pipeline alternate; each round's
prediction is the load of the one plan under that round's profile; medians are reported.  Beside it stands
what the catalogue's figures of the device predict for the same plan, and what they predict once calibrated
to the profiles of the *other* models.  The clock means something only on a quiet machine; the processor time
of the busiest process, which is reported as well, shows how far other programs disturbed the pipeline.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import shared_memory
from pathlib import Path
from statistics import median

import numpy as np

import placer
from placer.formats.text import write_text
from placer.imports.catalogue import DeviceEntry, entry_toml, find_device
from placer.imports.gradients import backward_pass
from placer.imports.onnx_model import read_onnx
from placer.imports.profiles import Profile, times_to_csv
from placer.measuring.calibration import Measured, calibrate, measured
from placer.measuring.copies import measure_links
from placer.plans.evaluate import device_loads
from tests.benchmarks.reality_models import MODELS

CORES = tuple(sorted(os.sched_getaffinity(0)))[:2]
TYPE = "cpu-core"
SLOTS = 2
"""Tensors sets that the buffer between the stages holds."""
CLUSTER = """
[clusters.two-cores]
classes = [{ device = "cpu-core", kind = "accelerator", count = 2, link = "measured", memory_gib = 64 }]
"""


@dataclass(frozen=True)
class Report:
    """Milliseconds per sample (medians over rounds), predicted and measured."""

    model: str
    operators: int
    predicted_ms: float
    measured_ms: float
    busiest_process_ms: float
    predicted_single_ms: float
    measured_single_ms: float
    stages_predicted_ms: list[float]
    stages_processor_ms: list[float]
    catalogue_ms: float
    """By the catalogue's figures of the device."""
    calibrated_ms: float | None
    """By these, calibrated to profiles of other models; None without others."""
    rounds: int
    samples: int

    @property
    def error(self) -> float:
        """Relative error of the prediction against the clock."""
        return self.predicted_ms / self.measured_ms - 1

    @property
    def processor_error(self) -> float:
        """Relative error of the prediction against the processor time of the busiest process."""
        return self.predicted_ms / self.busiest_process_ms - 1

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.operators} operators, {self.rounds} rounds of {self.samples} samples\n"
            f"pipeline of two: predicted {self.predicted_ms:.2f} ms per sample, "
            f"measured {self.measured_ms:.2f} ms ({100 * self.error:+.1f} %), "
            f"processor time of the busiest process {self.busiest_process_ms:.2f} ms "
            f"({100 * self.processor_error:+.1f} %)\n"
            f"one process: predicted {self.predicted_single_ms:.2f} ms, "
            f"measured {self.measured_single_ms:.2f} ms\n"
            f"stages: predicted {_listed(self.stages_predicted_ms)} ms, "
            f"processor time {_listed(self.stages_processor_ms)} ms\n"
            f"without a profile: {self._modelled('by the catalogue', self.catalogue_ms)}"
            + ("" if self.calibrated_ms is None else f", {self._modelled('calibrated', self.calibrated_ms)}")
        )

    def _modelled(self, how: str, ms: float) -> str:
        return f"{how} {ms:.2f} ms ({100 * (ms / self.measured_ms - 1):+.1f} %)"


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


# -- the processes ---------------------------------------------------------------------------------


def session(path: Path):
    """Open a model as it was profiled: one thread, no operators fused."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def random_feed(opened) -> dict[str, np.ndarray]:
    """Inputs of a model."""
    rng = np.random.default_rng(0)
    return {i.name: rng.normal(size=i.shape).astype(np.float32) for i in opened.get_inputs()}


def _profile(core: int, start, path: Path, repeats: int, answers) -> None:
    from placer.measuring.onnx_kernels import profile_onnx

    os.sched_setaffinity(0, {core})
    start.wait()
    answers.put(profile_onnx(path, repeats=repeats, threads=1))


def _single(core: int, start, path: Path, samples: int, answers) -> None:
    os.sched_setaffinity(0, {core})
    opened = session(path)
    feed = random_feed(opened)
    opened.run(None, feed)
    start.wait()
    times = []
    for _ in range(samples):
        begin = time.perf_counter()
        opened.run(None, feed)
        times.append(1e3 * (time.perf_counter() - begin))
    answers.put(median(times))


def _on_both_cores(target, *arguments):
    """Run a function in two pinned processes at once; answers in no order."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(len(CORES)), context.SimpleQueue()
    processes = [context.Process(target=target, args=(core, start, *arguments, answers)) for core in CORES]
    for process in processes:
        process.start()
    got = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return got


@contextmanager
def _shared(size: int, name: str | None = None) -> Iterator[shared_memory.SharedMemory]:
    memory = shared_memory.SharedMemory(name=name, create=name is None, size=max(1, size))
    try:
        yield memory
    finally:
        memory.close()
        if name is None:
            memory.unlink()


def _views(memory, layout: list[tuple[str, tuple[int, ...]]], slot: int) -> dict[str, np.ndarray]:
    """Tensors of one slot of the buffer."""
    out, offset = {}, slot * _bytes(layout)
    for name, shape in layout:
        count = int(np.prod(shape))
        out[name] = np.frombuffer(memory.buf, np.float32, count, offset).reshape(shape)
        offset += 4 * count
    return out


def _bytes(layout: list[tuple[str, tuple[int, ...]]]) -> int:
    return sum(4 * int(np.prod(shape)) for _, shape in layout)


def _first(core: int, path: Path, layout, name: str, free, filled, samples: int, answers) -> None:
    """Produce samples: run the first part, copy what the second reads into the buffer."""
    os.sched_setaffinity(0, {core})
    opened = session(path)
    feed = random_feed(opened)
    with _shared(0, name) as memory:
        slots = [_views(memory, layout, slot) for slot in range(SLOTS)]
        wanted = [tensor for tensor, _ in layout]
        marks = []
        for sample in range(samples):
            values = opened.run(wanted, feed)
            free.acquire()
            for tensor, value in zip(wanted, values, strict=True):
                slots[sample % SLOTS][tensor][:] = value
            filled.release()
            marks.append((time.perf_counter(), time.process_time()))
        answers.put((0, marks))
        del slots


def _second(core: int, path: Path, layout, name: str, free, filled, samples: int, answers) -> None:
    """Consume samples: copy them out of the buffer, run the second part."""
    os.sched_setaffinity(0, {core})
    opened = session(path)
    with _shared(0, name) as memory:
        slots = [_views(memory, layout, slot) for slot in range(SLOTS)]
        marks = []
        for sample in range(samples):
            filled.acquire()
            feed = {tensor: view.copy() for tensor, view in slots[sample % SLOTS].items()}
            free.release()
            opened.run(None, feed)
            marks.append((time.perf_counter(), time.process_time()))
        answers.put((1, marks))
        del slots


def pipeline(folder: Path, samples: int) -> tuple[float, list[float]]:
    """Run the two parts as a pipeline; ms per sample by the clock, and of processor time per stage."""
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    assert len(parts) == 2, f"a pipeline of two needs two parts, got {len(parts)}"
    first, second = (folder / part["file"] for part in parts)
    layout = [(i.name, tuple(i.shape)) for i in session(second).get_inputs()]
    context = multiprocessing.get_context("spawn")
    free, filled, answers = context.Semaphore(SLOTS), context.Semaphore(0), context.SimpleQueue()
    with _shared(SLOTS * _bytes(layout)) as memory:
        processes = [
            context.Process(
                target=run, args=(core, path, layout, memory.name, free, filled, samples, answers)
            )
            for run, core, path in zip((_first, _second), CORES, (first, second), strict=True)
        ]
        for process in processes:
            process.start()
        marks = dict(answers.get() for _ in processes)
        for process in processes:
            process.join()
    warm = samples // 4
    span = samples - 1 - warm
    clock = [1e3 * (m[-1][0] - m[warm][0]) / span for m in marks.values()]
    processor = [1e3 * (marks[stage][-1][1] - marks[stage][warm][1]) / span for stage in (0, 1)]
    return max(clock), processor


# -- prediction ------------------------------------------------------------------------------------


def profiled(model: Path, repeats: int) -> dict[str, float]:
    """Milliseconds of each operator, measured on both cores at once."""
    both = _on_both_cores(_profile, model, repeats)
    return {key: median(times[key] for times in both) for key in both[0]}


def observed(model: Path, times: dict[str, float], device: DeviceEntry) -> Measured:
    """What a model does and what it took, for calibration."""
    read = read_onnx(model)
    return measured(read, backward_pass(read), TYPE, device, Profile(model.name, TYPE, times))


class _Planned:
    """A model's plan for two cores, and what is predicted of it."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder
        (self.link,) = measure_links().values()
        self.result: placer.Result | None = None

    def instance(self, times: dict[str, float] | None, device: DeviceEntry | None = None) -> placer.Instance:
        """The model with these measured times, or with modelled ones."""
        text = entry_toml("links", "measured", self.link) + CLUSTER
        if device is not None:
            text += entry_toml("devices", TYPE, device)
        cluster, table = self.folder / "cluster.toml", self.folder / "times.csv"
        write_text(cluster, text)
        write_text(table, times_to_csv(times or {}, TYPE))
        profiles = [f"{TYPE}={table}"] if times else []
        return placer.import_onnx(self.model, cluster=str(cluster), profiles=profiles)

    def export(self, graph: placer.Instance) -> list[int]:
        """Plan, and write the parts; their devices in the order of the pipeline."""
        if self.result is None:
            self.result = placer.solve(graph, use_devices=("cpu-core",))
            placer.export(self.result, "onnx-parts", self.parts, instance=graph, model=self.model)
        manifest = json.loads((self.parts / "manifest.json").read_text())
        return [graph.device_index[part["device"]] for part in manifest["parts"]]

    @property
    def parts(self) -> Path:
        return self.folder / "parts"

    def loads(self, graph: placer.Instance) -> np.ndarray:
        """Predicted milliseconds per sample of each device."""
        device = np.array([graph.device_index[self.result.assignment[v]] for v in graph.ids])
        return device_loads(graph, device).load_ms(self.result.options.communication)


def measure(
    model: Path, rounds: int, samples: int, repeats: int, name: str, calibrated: DeviceEntry | None = None
) -> Report:
    """Plan, export, run and compare."""
    with tempfile.TemporaryDirectory() as temporary:
        planned, rows = _Planned(model, Path(temporary)), []
        for _ in range(rounds):
            graph = planned.instance(profiled(model, repeats))
            order = planned.export(graph)
            loads = planned.loads(graph)
            clock, processor = pipeline(planned.parts, samples)
            single = median(_on_both_cores(_single, model, max(3, samples // 4)))
            alone = graph.class_time_ms[:, 0].sum()
            rows.append((max(loads), clock, max(processor), alone, single, loads[order], processor))
        columns = list(zip(*rows, strict=True))
        figures = [median(map(float, column)) for column in columns[:5]]
        stages = [[median(row[s] for row in map(list, column)) for s in range(2)] for column in columns[5:]]
        modelled = [
            float(max(planned.loads(planned.instance(None, device))))
            for device in (None, *(() if calibrated is None else (calibrated,)))
        ]
        return Report(name, graph.n, *figures, *stages, *modelled[:1], (*modelled, None)[1], rounds, samples)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{', '.join(MODELS)} (default: all), or an ONNX file with float inputs of fixed shape",
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20, help="runs per profile")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    _, device = find_device(TYPE)
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name in args.models or MODELS:
            paths[name] = Path(folder) / f"{name}.onnx" if name in MODELS else Path(name)
            if name in MODELS:
                MODELS[name](paths[name])
        seen = {name: observed(path, profiled(path, args.repeats), device) for name, path in paths.items()}
        for name, path in paths.items():
            others = [seen[other] for other in paths if other != name]
            fitted = calibrate(device, others).device if others else None
            report = measure(path, args.rounds, args.samples, args.repeats, path.stem, fitted)
            print(report, flush=True)
            reports.append({**asdict(report), "error": report.error})
    if args.json:
        Path(args.json).write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
