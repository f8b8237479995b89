"""Does a plan hold in reality?  Predicted against measured time per sample, on two cores of this machine.

    python -m tests.benchmarks.reality [--rounds N] [--samples N] [--json FILE]

The ResNet-50 of the onnx package (with random weights in place of its constants) is profiled operator by
operator, planned for two devices, exported as two parts, and run as a pipeline of two processes, pinned to a
core each, with a single-threaded ONNX Runtime, which hand tensors over through shared memory.  Profiling runs
on both cores at once, because in the pipeline both are busy.  Rounds of profile and pipeline alternate; each
round's prediction is the load of the one plan under that round's profile; medians are reported.  The clock
means something only on a quiet machine; the processor time of the busiest process, which is reported as well,
shows how far other programs disturbed the pipeline.
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

CORES = tuple(sorted(os.sched_getaffinity(0)))[:2]
TYPE = "cpu-core"
SLOTS = 2
"""Tensors sets that the buffer between the stages holds."""
CLUSTER = """
[links.measured]
description = "copies through shared memory, measured"
gb_per_s = {bandwidth}
latency_ms = {latency}
source = "measured"

[clusters.two-cores]
classes = [{{ device = "cpu-core", kind = "accelerator", count = 2, link = "measured", memory_gib = 64 }}]
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
            f"processor time {_listed(self.stages_processor_ms)} ms"
        )


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


# -- the model -------------------------------------------------------------------------------------


def resnet50(path: Path) -> None:
    """Write the ResNet-50 graph of the onnx package with random weights where it has constants."""
    import onnx
    from onnx import numpy_helper

    from placer.imports.onnx_file import light_model

    model = onnx.load(light_model("light:resnet50"))
    graph = model.graph
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    made = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in made:
        shape = sizes[node.input[0]]
        spread = np.sqrt(2 / max(1, np.prod(shape[1:])))
        values = rng.normal(scale=spread, size=shape) if len(shape) > 1 else rng.uniform(0.5, 1.5, size=shape)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        graph.node.remove(node)
    shapes = {node.input[0] for node in made}
    for kept in (graph.initializer, graph.input):
        for item in [item for item in kept if item.name in shapes]:
            kept.remove(item)
    model.ir_version = 8
    onnx.save(model, path)


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
    from placer.imports.measure import profile_onnx

    os.sched_setaffinity(0, {core})
    start.wait()
    answers.put(profile_onnx(path, repeats=repeats, threads=1))


def _copies(core: int, start, sizes: list[int], answers) -> None:
    """Milliseconds that a copy into shared memory takes, by size in bytes."""
    os.sched_setaffinity(0, {core})
    with _shared(max(sizes)) as memory:
        start.wait()
        out = {}
        for size in sizes:
            target, source = np.frombuffer(memory.buf, np.uint8, size), np.ones(size, np.uint8)
            times = []
            for _ in range(30):
                begin = time.perf_counter()
                target[:] = source
                times.append(1e3 * (time.perf_counter() - begin))
            out[size] = median(times)
            del target
    answers.put(out)


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


def measured_link() -> tuple[float, float]:
    """Bandwidth in GB/s and latency in ms of copies through shared memory, fitted over sizes."""
    sizes = [2**k for k in range(14, 23)]
    got = _on_both_cores(_copies, sizes)
    times = [median(answer[size] for answer in got) for size in sizes]
    slope, latency = np.polyfit(sizes, times, 1, w=1 / np.array(times))
    return 1e-6 / float(slope), max(0.0, float(latency))


def measure(model: Path, rounds: int, samples: int, repeats: int, name: str) -> Report:
    """Plan, export, run and compare."""
    import placer
    from placer.formats.text import write_text
    from placer.imports.profiles import times_to_csv
    from placer.plans.evaluate import device_loads

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bandwidth, latency = measured_link()
        cluster = folder / "cluster.toml"
        write_text(cluster, CLUSTER.format(bandwidth=bandwidth, latency=latency))

        def instance():
            both = _on_both_cores(_profile, model, repeats)
            times = {key: median(times[key] for times in both) for key in both[0]}
            write_text(folder / "times.csv", times_to_csv(times, TYPE))
            return placer.import_onnx(
                model, cluster=str(cluster), profiles=[f"{TYPE}={folder / 'times.csv'}"]
            )

        result, rows = None, []
        for _ in range(rounds):
            graph = instance()
            if result is None:
                result = placer.solve(graph, use_devices=("cpu-core",))
                placer.export(result, "onnx-parts", folder / "parts", instance=graph, model=model)
            device = np.array([graph.device_index[result.assignment[v]] for v in graph.ids])
            loads = device_loads(graph, device).load_ms(result.options.communication)
            order = [
                graph.device_index[part["device"]]
                for part in json.loads((folder / "parts" / "manifest.json").read_text())["parts"]
            ]
            clock, processor = pipeline(folder / "parts", samples)
            single = median(_on_both_cores(_single, model, max(3, samples // 4)))
            rows.append(
                (
                    max(loads),
                    clock,
                    max(processor),
                    graph.class_time_ms[:, 0].sum(),
                    single,
                    loads[order],
                    processor,
                )
            )
    columns = list(zip(*rows, strict=True))
    figures = [median(map(float, column)) for column in columns[:5]]
    stages = [[median(row[s] for row in map(list, column)) for s in range(2)] for column in columns[5:]]
    return Report(name, graph.n, *figures, *stages, rounds, samples)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20, help="runs per profile")
    parser.add_argument("--model", type=Path, help="an ONNX model instead, float inputs of fixed shape")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or Path(folder) / "resnet50.onnx"
        if args.model is None:
            resnet50(model)
        report = measure(model, args.rounds, args.samples, args.repeats, model.stem)
    print(report)
    if args.json:
        Path(args.json).write_text(json.dumps({**asdict(report), "error": report.error}, indent=1) + "\n")


if __name__ == "__main__":
    main()
