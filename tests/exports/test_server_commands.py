"""Commands that start servers: read back by the rules of the servers, they give the plan."""

import json
import re
import shlex

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.exports.api import export
from placer.exports.server_commands import llama_cpp, sglang, vllm
from placer.exports.server_export import serving_device_map
from placer.language.configuration import language_model
from tests.support.level import seeds
from tests.support.served import DENSE, MIXTURE, answer, nodes_of, served
from tests.support.server_rules import llama_devices, vllm_ranges

LAYERS = DENSE["num_hidden_layers"]


def layer(node):
    found = re.search(r"\.(\d+)\.", node)
    return None if found is None else int(found[1])


def by_layers(nodes, counts, names):
    """Devices of a pipeline: the embedding with the first layer, the head with the last."""
    ends = np.cumsum(counts)
    devices = []
    for k, node in enumerate(nodes):
        number = layer(node)
        number = number if number is not None else 0 if k == 0 else LAYERS - 1
        devices.append(names[int(np.searchsorted(ends, number, side="right"))])
    return devices


def read(script):
    """Environment and flags of a command, as a shell would see them."""
    words = shlex.split("".join(line for line in script.splitlines(keepends=True) if line[0] != "#"))
    environment = {}
    while re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    flags, repeated = {}, []
    for at, word in enumerate(words):
        if word.startswith("-") and word != "-m":
            flags[word] = words[at + 1]
            repeated.append((word, words[at + 1]))
    return environment, flags, repeated


@pytest.mark.parametrize("seed", seeds(40))
def test_pipelines_read_back(seed):
    """Each device has the layers of the plan in all three servers."""
    rng = np.random.default_rng(seed)
    stages = int(rng.integers(1, 5))
    cuts = np.sort(rng.choice(np.arange(1, LAYERS), stages - 1, replace=False))
    counts = np.diff([0, *cuts, LAYERS]).tolist()
    names = [f"card{k}" for k in rng.permutation(stages)]
    nodes = nodes_of(DENSE if seed % 2 else MIXTURE)
    plan = served(nodes, by_layers(nodes, counts, names))
    wanted = list(zip([0, *cuts.tolist()], [*cuts.tolist(), LAYERS], strict=True))
    for make, variable, size in (
        (vllm, "VLLM_PP_LAYER_PARTITION", "--pipeline-parallel-size"),
        (sglang, "SGLANG_PP_LAYER_PARTITION", "--pp-size"),
    ):
        script, _ = make(plan, "m")
        environment, flags, _ = read(script)
        assert int(flags[size]) == stages
        if stages > 1:
            assert vllm_ranges(environment[variable], LAYERS, stages) == wanted
        assert script.splitlines()[0].endswith(": " + ", ".join(names))
    script, remarks = llama_cpp(plan, "m.gguf")
    _, flags, _ = read(script)
    placed = llama_devices(flags["-ts"], int(flags["-ngl"]), LAYERS)
    assert placed == [*np.repeat(range(stages), counts), stages - 1]
    assert (flags["-c"], flags["-np"]) == (str(6 * 1024), "6")
    assert remarks[0].startswith("llama.cpp keeps the input embedding in host memory")


def test_what_is_served_at_once():
    plan = served(nodes_of(DENSE), by_layers(nodes_of(DENSE), [5, 7], ["a", "b"]))
    _, flags, _ = read(vllm(plan, "org/model name")[0])
    assert (flags["--max-model-len"], flags["--max-num-seqs"]) == ("1024", "6")
    assert "'org/model name'" in vllm(plan, "org/model name")[0]
    _, flags, _ = read(sglang(plan, "m")[0])
    assert (flags["--context-length"], flags["--max-running-requests"]) == ("1024", "6")
    assert flags["--pp-max-micro-batch-size"] == "2"


def test_shards_and_replicas():
    """Rank order: groups of replicas, in these the stages, in these the shards."""
    nodes = nodes_of(DENSE)
    devices = by_layers(nodes, [5, 7], ["a+b+c+d", "e+f+g+h"])
    plan = served(nodes, devices, shards=2, replicas=2)
    script, _ = vllm(plan, "m")
    _, flags, _ = read(script)
    assert (flags["--tensor-parallel-size"], flags["--data-parallel-size"]) == ("2", "2")
    assert flags["--max-num-seqs"] == "3"
    assert script.splitlines()[0].endswith(": a, b, e, f, c, d, g, h")
    for make in (sglang, llama_cpp):
        with pytest.raises(UsageError, match="replicas"):
            make(plan, "m")
    first, second = plan.stages
    uneven = plan.model_copy(
        update={"stages": (first, second.model_copy(update={"shards": 4, "replicas": 1}))}
    )
    with pytest.raises(UsageError, match="its ranks differ in shards, and all have the same there"):
        vllm(uneven, "m")


def test_experts_on_the_host():
    """Every tensor goes where the plan has it: by the rule for layers, then by those that override."""
    nodes = nodes_of(MIXTURE)
    devices = by_layers(nodes, [4, 8], ["a", "b"])
    away = {2: "ram", 3: "ram", 9: "ram", 5: "a"}
    for k, node in enumerate(nodes):
        if node.endswith(".experts") and layer(node) in away:
            devices[k] = away[layer(node)]
        if node.endswith(".gate") and layer(node) == 9:
            devices[k] = "ram"
    plan = served(nodes, devices, hosts=("ram",), microbatches=1)
    script, remarks = llama_cpp(plan, "m.gguf")
    _, flags, repeated = read(script)
    placed = llama_devices(flags["-ts"], int(flags["-ngl"]), LAYERS)
    assert placed == [0] * 4 + [1] * 9
    rules = [value.rsplit("=", 1) for flag, value in repeated if flag == "-ot"]
    for number in range(LAYERS):
        for role in (
            "ffn_gate_exps",
            "ffn_up_exps",
            "ffn_down_exps",
            "ffn_gate_inp",
            "attn_q",
            "ffn_up_shexp",
        ):
            name = f"blk.{number}.{role}.weight"
            at = next((to for rule, to in rules if re.search(rule, name)), f"CUDA{placed[number]}")
            wanted = away.get(number) if role.endswith("_exps") else None
            wanted = "ram" if (number, role) == (9, "ffn_gate_inp") else wanted
            assert at == {None: f"CUDA{placed[number]}", "ram": "CPU", "a": "CUDA0"}[wanted], name
    assert len(remarks) == 1
    with pytest.raises(UsageError, match="vllm cannot express this plan: ram is no accelerator"):
        vllm(plan, "m")
    keys = serving_device_map(plan, language_model(MIXTURE))
    assert keys["model.layers.2.mlp.experts"] == "cpu"
    assert keys["model.layers.2.self_attn"] == keys["model.layers.0"] == 0
    assert (keys["model.layers.11"], keys["lm_head"]) == (1, 1)


def test_first_layers_on_the_host():
    nodes = nodes_of(DENSE)
    plan = served(nodes, by_layers(nodes, [3, 9], ["ram", "card"]), hosts=("ram",))
    script, remarks = llama_cpp(plan, "m")
    _, flags, _ = read(script)
    assert llama_devices(flags["-ts"], int(flags["-ngl"]), LAYERS) == [0] * 10
    assert not any("embedding" in remark for remark in remarks)


def test_the_map_covers_every_parameter():
    """By accelerate's rule, the longest key that is a prefix."""
    model = language_model(MIXTURE)
    nodes = nodes_of(MIXTURE)
    devices = by_layers(nodes, [4, 8], ["a", "b"])
    keys = serving_device_map(served(nodes, devices), model)
    for block, device in zip(model.blocks, devices, strict=True):
        for parameter in block.parameters:
            covering = [key for key in keys if (parameter.name + ".").startswith(key + ".")]
            assert [keys[key] for key in covering] == ["ab".index(device)]
    with pytest.raises(UsageError, match="the plan is not one of"):
        serving_device_map(served(nodes, devices), language_model(DENSE))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda node, k: "b" if k % 2 else None, r"vllm cannot express this plan: layer \d+ is split over"),
        (lambda node, k: "c" if k == 0 else None, "c holds no layer, and servers want one on each"),
        (lambda node, k: "a" if node == "lm_head" else None, "or the last what is after"),
        (lambda node, k: "b" if layer(node) == 1 else None, "the layers are not in the order of the devices"),
    ],
)
def test_refusals(change, says):
    nodes = nodes_of(DENSE)
    devices = by_layers(nodes, [5, 7], ["a", "b"])
    plan = served(nodes, [change(node, k) or devices[k] for k, node in enumerate(nodes)])
    with pytest.raises(UsageError, match=says):
        vllm(plan, "m")


def test_files(tmp_path):
    nodes = nodes_of(DENSE)
    source, config = tmp_path / "served.json", tmp_path / "config.json"
    source.write_text(answer(served(nodes, by_layers(nodes, [5, 7], ["a", "b"]))).to_json())
    config.write_text(json.dumps(DENSE))
    export(source, "vllm", tmp_path / "start.sh")
    assert "vllm serve \\\n  Some-Model" in (tmp_path / "start.sh").read_text()
    export(source, "device-map", tmp_path / "map.json", model=config)
    assert json.loads((tmp_path / "map.json").read_text())["model.layers.4"] == 0
    with pytest.raises(UsageError, match="needs the model's configuration"):
        export(source, "device-map", tmp_path / "x")
    with pytest.raises(UsageError, match="there is no serving format"):
        export(source, "onnx", tmp_path / "x")
    with pytest.raises(InputError, match="not overwritten"):
        export(source, "vllm", source)
    source.write_text(answer(served(nodes, ["a"] * len(nodes))).model_copy(update={"plan": None}).to_json())
    with pytest.raises(InputError, match="there is no plan to export: optimal"):
        export(source, "vllm", tmp_path / "x")
