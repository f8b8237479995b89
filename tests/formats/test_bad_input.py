"""Every kind of bad input gets one line that names the file, the place and the rule, in both formats."""

import copy
import json
import re

import pytest

from placer.errors import InputError
from placer.formats.files import load

NATIVE = {
    "format": "placer-instance",
    "version": 1,
    "name": "small",
    "nodes": [
        {"id": "a", "time_ms": {"gpu": 1.0, "cpu": 2.0}, "memory_bytes": 3, "transfer_ms": 0.5},
        {"id": "b", "time_ms": {"gpu": 1.0}, "output_bytes": 100},
        {"id": "c", "time_ms": {"gpu": 1.0, "cpu": 2.0}, "backward": True, "colocate": "g"},
    ],
    "edges": [["a", "b"], ["b", "c"]],
    "cluster": {
        "classes": [
            {
                "name": "acc",
                "type": "gpu",
                "kind": "accelerator",
                "count": 2,
                "memory_limit_bytes": 10,
                "link": {"bandwidth_bytes_per_s": 1e6},
            },
            {"name": "host", "type": "cpu", "kind": "host", "count": 1},
        ]
    },
}
PAPER = {
    "maxSizePerFPGA": 10,
    "maxFPGAs": 2,
    "maxCPUs": 1,
    "nodes": [
        {"id": 1, "supportedOnFpga": True, "cpuLatency": 2.0, "fpgaLatency": 1.0, "size": 3},
        {"id": 2, "supportedOnFpga": 1, "cpuLatency": 2.0, "fpgaLatency": 1.0},
        {"id": 3, "supportedOnFpga": 0, "cpuLatency": 2.0, "fpgaLatency": 0, "isBackwardNode": True},
    ],
    "edges": [{"sourceId": 1, "destId": 2, "cost": 0.5}, {"sourceId": 2, "destId": 3, "cost": 0.25}],
}
DELETE = object()


def changed(base, *changes):
    """A copy of ``base`` with ``(path, value)`` set, appended (path ends in ``+``) or deleted."""
    document = copy.deepcopy(base)
    for path, value in changes:
        *outer, last = [int(p) if p.lstrip("-").isdigit() else p for p in path.split("/")]
        at = document
        for key in outer:
            at = at[key]
        if value is DELETE:
            del at[last]
        elif last == "+":
            at.append(value)
        else:
            at[last] = value
    return document


# name: (document, what the line says after the file's name)
DOCUMENTS = {
    # -- native: shape of the document
    "native missing field": (
        changed(NATIVE, ("nodes/1/time_ms", DELETE)),
        r"nodes\[1\]\.time_ms: this field is required",
    ),
    "native missing nodes": (changed(NATIVE, ("nodes", DELETE)), r"nodes: this field is required"),
    "native missing cluster": (changed(NATIVE, ("cluster", DELETE)), r"cluster: this field is required"),
    "native missing format": (changed(NATIVE, ("format", DELETE)), r"format: this field is required"),
    "native missing version": (changed(NATIVE, ("version", DELETE)), r"version: this field is required"),
    "native unknown field": (
        changed(NATIVE, ("nodes/0/memory", 3)),
        r"nodes\[0\]\.memory: unknown field \(did you mean 'memory_bytes'\?\); choose from id, .*",
    ),
    "native unknown top field": (changed(NATIVE, ("devices", [])), r"devices: unknown field; choose from .*"),
    "native unknown link field": (
        changed(NATIVE, ("cluster/classes/0/link/bandwith", 1)),
        r"cluster\.classes\[0\]\.link\.bandwith: unknown field; choose from .*",
    ),
    "native version 2": (
        changed(NATIVE, ("version", 2)),
        r"version: format version 2 is not supported; this release reads version 1",
    ),
    "native version true": (changed(NATIVE, ("version", True)), r"version: format version True is not .*"),
    "native two defects": (
        changed(NATIVE, ("nodes/0/memory", 3), ("nodes/1/x", 3)),
        r"nodes\[0\]\.memory: unknown field .* \(and 1 more defects\)",
    ),
    "native nodes no list": (changed(NATIVE, ("nodes", {})), r"nodes: expected a list"),
    "native node no object": (changed(NATIVE, ("nodes/0", 7)), r"nodes\[0\]: expected an object, got 7"),
    "native edge of three": (
        changed(NATIVE, ("edges/0", ["a", "b", "c"])),
        r"edges\[0\]: List should have.*",
    ),
    "native number as text": (
        changed(NATIVE, ("nodes/0/time_ms/gpu", "1.0")),
        r"nodes\[0\]\.time_ms\.gpu: expected a number, got '1\.0'",
    ),
    "native truth as number": (
        changed(NATIVE, ("nodes/0/memory_bytes", True)),
        r"nodes\[0\]\.memory_bytes: expected a number, got True",
    ),
    "native empty id": (changed(NATIVE, ("nodes/0/id", "")), r"nodes\[0\]\.id: must not be empty, got ''"),
    "native null id": (changed(NATIVE, ("nodes/0/id", None)), r"nodes\[0\]\.id: expected a string, got None"),
    "native unknown kind": (
        changed(NATIVE, ("cluster/classes/0/kind", "fpga")),
        r"cluster\.classes\[0\]\.kind: must be 'accelerator' or 'host', got 'fpga'",
    ),
    # -- native: numbers
    "native negative time": (
        changed(NATIVE, ("nodes/0/time_ms/gpu", -1)),
        r"nodes\[0\]\.time_ms\.gpu: must be greater than or equal to 0, got -1",
    ),
    "native negative memory": (
        changed(NATIVE, ("nodes/0/memory_bytes", -1)),
        r"nodes\[0\]\.memory_bytes: .* 0, got -1",
    ),
    "native reserve above the limit": (
        changed(NATIVE, ("cluster/classes/0/memory_reserve_bytes", 11)),
        r"class 'acc': memory reserve 11 exceeds the limit of 10 bytes",
    ),
    "native reserves for some devices": (
        changed(NATIVE, ("cluster/classes/0/memory_reserve_bytes", [1, 2, 3])),
        r"class 'acc': memory reserve: 3 sizes for 2 devices; give one, or one for each",
    ),
    "native order of unknown devices": (
        changed(NATIVE, ("cluster/order", ["acc0", "acc7"])),
        r"cluster: order names 'acc7', which is no class and no device .*",
    ),
    "native order with a class and its device": (
        changed(NATIVE, ("cluster/order", ["acc", "acc0"])),
        r"cluster: order names 'acc' twice, or a class together with one of its devices",
    ),
    "native negative transfer": (
        changed(NATIVE, ("nodes/0/transfer_ms", -1)),
        r"nodes\[0\]\.transfer_ms: .*",
    ),
    "native negative count": (
        changed(NATIVE, ("cluster/classes/0/count", -1)),
        r"cluster\.classes\[0\]\.count: must be greater than or equal to 0, got -1",
    ),
    "native huge count": (
        changed(NATIVE, ("cluster/classes/0/count", 10**9)),
        r"cluster\.classes\[0\]\.count: .* 100000, got .*",
    ),
    "native fraction of a device": (
        changed(NATIVE, ("cluster/classes/0/count", 1.5)),
        r"cluster\.classes\[0\]\.count: expected a whole number, got 1\.5",
    ),
    "native huge time": (
        changed(NATIVE, ("nodes/0/time_ms/gpu", 1e300)),
        r"nodes\[0\]\.time_ms\.gpu: must be less than.*",
    ),
    "native huge integer": (
        changed(NATIVE, ("nodes/0/memory_bytes", 10**400)),
        r"nodes\[0\]\.memory_bytes: .*",
    ),
    "native zero bandwidth": (
        changed(NATIVE, ("cluster/classes/0/link/bandwidth_bytes_per_s", 0)),
        r"cluster\.classes\[0\]\.link\.bandwidth_bytes_per_s: must be greater than 0, got 0",
    ),
    # -- native: rules of the model
    "native duplicate id": (
        changed(NATIVE, ("nodes/1/id", "a")),
        r"nodes\[1\]\.id: duplicate id: 'a' is also the id of nodes\[0\]",
    ),
    "native duplicate id as integer": (
        changed(NATIVE, ("nodes/0/id", 1), ("nodes/1/id", "1")),
        r"nodes\[1\]\.id: duplicate id: '1' .*",
    ),
    "native dangling edge": (
        changed(NATIVE, ("edges/+", ["a", "z"])),
        r"edges\[2\]\[1\]: there is no node 'z'",
    ),
    "native self-loop": (
        changed(NATIVE, ("edges/+", ["a", "a"])),
        r"edge 'a' -> 'a': self-loop: a node cannot read its own output",
    ),
    "native edge twice": (
        changed(NATIVE, ("edges/+", ["a", "b"])),
        r"edge 'a' -> 'b': the edge is listed twice",
    ),
    "native cycle": (
        changed(NATIVE, ("nodes/2/backward", False), ("edges/+", ["c", "a"])),
        r"edges: the graph has a cycle: ('a' -> 'b' -> 'c' -> 'a'|'b' -> 'c' -> 'a' -> 'b'|'c' -> 'a' -> 'b' -> 'c')",  # noqa: E501
    ),
    "native two transfer times": (
        changed(NATIVE, ("nodes/0/output_bytes", 5)),
        r"nodes\[0\]: two transfer times for node 'a': give transfer_ms or output_bytes, not both",
    ),
    "native backward to forward": (
        changed(NATIVE, ("nodes/1/backward", True), ("nodes/2/backward", False)),
        r"edge 'b' -> 'c': an edge leads from a backward node to a forward node",
    ),
    "native unsupported node": (
        changed(NATIVE, ("nodes/0/time_ms", {"tpu": 1})),
        r"node 'a': no device of the cluster can run it.*",
    ),
    "native no type at all": (
        changed(NATIVE, ("nodes/0/time_ms", {})),
        r"node 'a': no device of the cluster.*",
    ),
    "native empty graph": (
        changed(NATIVE, ("nodes", []), ("edges", [])),
        r"nodes: the graph is empty; it needs at least one node",
    ),
    "native no devices": (
        changed(NATIVE, ("cluster/classes/0/count", 0), ("cluster/classes/1/count", 0)),
        r"cluster: there are no devices",
    ),
    "native no classes": (changed(NATIVE, ("cluster/classes", [])), r"cluster: there are no devices"),
    "native impossible colocation": (
        changed(
            NATIVE,
            ("nodes/0/colocate", "g"),
            ("nodes/0/time_ms", {"cpu": 1}),
            ("nodes/2/time_ms", {"gpu": 1}),
        ),
        r"group 'g': colocation cannot hold: no device type runs all of its nodes \('a', 'c'\)",
    ),
    "native unknown pin": (
        changed(NATIVE, ("nodes/0/pin", ["acc2"])),
        r"node 'a': pin names 'acc2', which is no class and no device .*",
    ),
    "native unknown forbid": (changed(NATIVE, ("nodes/0/forbid", ["x"])), r"node 'a': forbid names 'x', .*"),
    "native size without bandwidth": (
        changed(NATIVE, ("cluster/classes/0/link", {})),
        r"node 'b': output_bytes needs a link with a bandwidth, and class 'acc' has none",
    ),
    "native duplicate class": (
        changed(NATIVE, ("cluster/classes/1/name", "acc")),
        r"cluster: duplicate class name 'acc'",
    ),
    "native duplicate device": (
        changed(NATIVE, ("cluster/classes/0/count", 12), ("cluster/classes/1/name", "acc1")),
        r"cluster: two devices would be called 'acc10'; rename a class",
    ),
    "native right-to-left override": (
        changed(NATIVE, ("nodes/0/id", "a\u202eb"), ("edges/0", ["a\u202eb", "b"])),
        r"node 'a\\u202eb': id 'a\\u202eb' holds a control character \(U\+202E\), .*",
    ),
    "native invisible class name": (
        changed(NATIVE, ("cluster/classes/0/name", "acc\u200b")),
        r"class 'acc\\u200b': name 'acc\\u200b' holds a control character \(U\+200B\), .*",
    ),
    "native isolate in a name": (
        changed(NATIVE, ("nodes/0/name", "\u2066a")),
        r"node 'a': name '\\u2066a' holds a control character \(U\+2066\), .*",
    ),
    "native control character": (
        changed(NATIVE, ("nodes/0/id", "a\nb"), ("edges", [])),
        r"node 'a\\nb': id 'a\\nb' holds a control character \(U\+000A\), .*",
    ),
    "native escape sequence in a name": (
        changed(NATIVE, ("nodes/0/name", "\x1b[31mred")),
        r"node 'a': name '\\x1b\[31mred' holds a control character \(U\+001B\), .*",
    ),
    "native lone surrogate": (
        changed(NATIVE, ("nodes/0/name", "\ud800")),
        r"node 'a': name '\\ud800' holds a control character .*|nodes\[0\]\.name: .*",
    ),
    # -- the paper's format
    "paper missing field": (
        changed(PAPER, ("nodes/0/fpgaLatency", DELETE)),
        r"nodes\[0\]\.fpgaLatency: this field is required",
    ),
    "paper missing devices": (changed(PAPER, ("maxFPGAs", DELETE)), r"maxFPGAs: this field is required"),
    "paper unknown field": (
        changed(PAPER, ("nodes/0/gpuLatency", 1)),
        r"nodes\[0\]\.gpuLatency: unknown field .*",
    ),
    "paper unknown top field": (changed(PAPER, ("maxTPUs", 1)), r"maxTPUs: unknown field .*"),
    "paper negative time": (
        changed(PAPER, ("nodes/0/cpuLatency", -2)),
        r"nodes\[0\]\.cpuLatency: must be greater than or equal to 0, got -2",
    ),
    "paper negative cost": (changed(PAPER, ("edges/0/cost", -2)), r"edges\[0\]\.cost: .*, got -2"),
    "paper flag 2": (changed(PAPER, ("nodes/0/supportedOnFpga", 2)), r"nodes\[0\]\.supportedOnFpga.*: .*"),
    "paper duplicate id": (
        changed(PAPER, ("nodes/1/id", 1)),
        r"nodes\[1\]\.id: duplicate id: 1 was used before",
    ),
    "paper dangling edge": (
        changed(PAPER, ("edges/0/destId", 9)),
        r"edges\[0\]\.destId: there is no node 9",
    ),
    "paper self-loop": (changed(PAPER, ("edges/0/destId", 1)), r"edge '1' -> '1': self-loop: .*"),
    "paper cycle": (
        changed(PAPER, ("edges/+", {"sourceId": 2, "destId": 1, "cost": 0.25})),
        r"edges: the graph has a cycle: ('1' -> '2' -> '1'|'2' -> '1' -> '2')",
    ),
    "paper two transfer times": (
        changed(PAPER, ("edges/+", {"sourceId": 1, "destId": 3, "cost": 0.6})),
        r"edges\[2\]\.cost: two transfer times for the output of node 1: 0\.5 and 0\.6",
    ),
    "paper backward to forward": (
        changed(PAPER, ("nodes/0/isBackwardNode", 1)),
        r"edge '1' -> '2': an edge leads from a backward node to a forward node",
    ),
    "paper empty graph": (changed(PAPER, ("nodes", []), ("edges", [])), r"nodes: the graph is empty.*"),
    "paper no devices": (changed(PAPER, ("maxFPGAs", 0), ("maxCPUs", 0)), r"cluster: there are no devices"),
    # -- neither
    "list": ([], r"not an instance: the top level must be an object, got a list"),
    "text": ("hello", r"not an instance: the top level must be an object, got a string"),
    "null": (None, r"not an instance: the top level must be an object, got null"),
    "number": (3, r"not an instance: the top level must be an object, got a number"),
    "empty object": ({}, r"not an instance: neither .*"),
    "other format": ({"format": "onnx"}, r"not an instance: the format 'onnx' is not known"),
    "result": ({"format": "placer-result"}, r"not an instance: this is a result document"),
    "split": ({"fpgas": [], "cpus": []}, r"not an instance: this is a split in the paper's result format"),
}

TEXTS = {
    "empty": (b"", r"the file is empty"),
    "white": (b" \n\t", r"the file is empty"),
    "broken": (b'{"nodes": [', r"not JSON: Expecting value \(line 1, column 12\)"),
    "cut off": (b'{\n "nodes": 1\n "edges": 2}', r"not JSON: .* \(line 3, column 2\)"),
    "two documents": (b"{}{}", r"not JSON: Extra data \(line 1, column 3\)"),
    "NaN": (b'{"maxFPGAs": NaN}', r"not acceptable JSON: NaN is not a number here"),
    "infinity": (b'{"maxFPGAs": Infinity}', r"not acceptable JSON: Infinity is not a number here"),
    "minus infinity": (b'{"maxFPGAs": -Infinity}', r"not acceptable JSON: -Infinity is not a number here"),
    "overflow": (
        json.dumps(NATIVE).replace('"memory_bytes": 3', '"memory_bytes": 1e999').encode(),
        r"nodes\[0\]\.memory_bytes: .*, got inf",
    ),
    "duplicate key": (b'{"nodes": 1, "nodes": 2}', r"not acceptable JSON: the key 'nodes' stands twice .*"),
    "deep": (b"[" * 200_000, r"not acceptable JSON: nested too deeply"),
    "long number": (b'{"maxFPGAs": ' + b"9" * 5000 + b"}", r"not acceptable JSON: .*"),
    "latin-1": ('{"name": "é"}'.encode("latin-1"), r"not UTF-8 text \(byte 10\)"),
    "utf-16": ('{"name": "e"}'.encode("utf-16"), r"not UTF-8 text \(byte 0\)"),
    "binary": (bytes(range(256)), r"not UTF-8 text \(byte 128\)"),
}


def message(path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(tmp_path, name):
    document, expected = DOCUMENTS[name]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document))
    assert re.fullmatch(expected, message(path)), message(path)


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path, name):
    content, expected = TEXTS[name]
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert re.fullmatch(expected, message(path)), message(path)


def test_no_file(tmp_path):
    assert message(tmp_path / "none.json") == "No such file or directory"
    assert message(tmp_path) == "Is a directory"


def test_path_with_control_characters():
    with pytest.raises(InputError) as caught:
        load("no\0\nfile")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("base", [NATIVE, PAPER])
def test_the_unchanged_documents_are_good(tmp_path, base):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(base))
    assert load(path).n == 3


def test_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "mark.json"
    path.write_text(json.dumps(NATIVE), encoding="utf-8-sig")
    assert load(path).name == "small"


def test_equal_transfer_times_up_to_printing(tmp_path):
    """The paper's files repeat the transfer time on every edge, rounded to six digits."""
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(changed(PAPER, ("edges/+", {"sourceId": 1, "destId": 3, "cost": 0.5000004}))))
    assert load(path).transfer_ms.tolist() == [0.5, 0.25, 0]
