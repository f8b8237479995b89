"""Language models on the command line: from a configuration or a header to a plan and what runs it."""

import json

import pytest

import placer
from placer.formats.files import load
from tests.cli.test_import import call
from tests.support.gguf_files import header, llama
from tests.support.language_models import MODELS


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MODELS["Llama-3-8B"][0]))
    return path


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "small.gguf"
    path.write_bytes(header(*llama(layers=6)))
    return path


def test_hf(capsys, config, tmp_path):
    out = tmp_path / "out.json"
    asked = ("--phase", "decode", "--batch", 4, "--sequence", 1024, "--concurrency", 16, "--cache", "fp8")
    code, text, err = call(capsys, "import", "hf", config, "--devices", "l4:4", *asked, "--out", out)
    assert code == 0
    assert text.startswith("out.json: 66 nodes, 65 edges, 1.606e+04 MB of weights, 6")
    assert "8,030,261,248 parameters; one more token of 4 sequences of 1024 tokens; cache of 16: 1 GiB" in err
    instance = load(out)
    assert instance.source.kind == "hf"
    assert instance.memory_bytes[1] == 16 * 1024 * 2 * 8 * 128
    code, text, _ = call(
        capsys, "import", "hf", config.parent, "--devices", "l4:4", "--by", "module", "--quiet"
    )
    assert (code, len(json.loads(text)["nodes"])) == (0, 35)
    code, text, _ = call(
        capsys,
        "import",
        "hf",
        config,
        "--devices",
        "l4:4",
        "--weights",
        "int4",
        "--quiet",
        "--logits",
        "last",
    )
    assert code == 0
    assert sum(n["weight_bytes"] for n in json.loads(text)["nodes"]) < 0.4 * instance.weight_bytes.sum()


def test_gguf(capsys, gguf, tmp_path):
    out = tmp_path / "out.json"
    code, _, err = call(
        capsys, "import", "gguf", gguf, "--devices", "t4:2", "--phase", "decode", "--out", out
    )
    assert code == 0
    assert "weights in Q4_K, Q6_K, F32" in err
    assert "1 sequence of 512 tokens" in err
    assert load(out).source.kind == "gguf"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--dim", "a=1"), "apply to ONNX models"),
        (("--batch", "0"), "batch must be at least 1"),
        (("--weights", "int4", "--training"), "quantised weights cannot be trained"),
        (("--training", "--phase", "decode"), "training has no cache"),
        (("--concurrency", "1", "--batch", "2"), "concurrency (1) is at least the batch (2)"),
    ],
)
def test_options_that_do_not_fit(capsys, config, options, rule):
    code, _, err = call(capsys, "import", "hf", config, "--devices", "l4:4", *options)
    assert code == 2
    assert rule in err
    assert err.count("\n") == 1


def test_options_of_other_kinds(capsys, config, gguf, tmp_path):
    graph = tmp_path / "graph.txt"
    graph.write_text("")
    for source, options, rule in (
        (("pipedream", graph), ("--batch", 2), "--batch applies to import hf and gguf"),
        (("gguf", gguf), ("--weights", "int4"), "--weights applies to import hf"),
        (("gguf", gguf), ("--precision", "fp16"), "--precision does not apply to GGUF"),
        (("hf", gguf), (), "not UTF-8 text"),
        (("gguf", config), (), "not a GGUF file"),
        (("hf", tmp_path / "none.json"), (), "No such file"),
        (("gguf", tmp_path / "none.gguf"), (), "No such file"),
        (("gguf", tmp_path), (), "Is a directory"),
    ):
        code, _, err = call(capsys, "import", *source, "--devices", "t4:2", *options)
        assert (code, err.count("\n")) == (2, 1)
        assert rule in err


def test_the_configuration_is_not_overwritten(capsys, config):
    before = config.read_text()
    for source in (config, config.parent):
        code, _, err = call(capsys, "import", "hf", source, "--devices", "l4:4", "--out", config)
        assert code == 2
        assert "not overwritten" in err
    assert config.read_text() == before


def counts(path):
    line = next(x for x in path.read_text().splitlines() if x.startswith("VLLM_PP_LAYER_PARTITION="))
    return [int(n) for n in line.partition("=")[2].split(",")]


def test_layers_for_servers(config, gguf, tmp_path):
    for made in (
        placer.import_hf(config, cluster="l4:4", by="module", work={"phase": "decode"}),
        placer.import_gguf(gguf, cluster="t4:2", by="module", work={"phase": "decode"}),
    ):
        result = placer.solve(made)
        placer.export(result, "layer-counts", tmp_path / "layers.env", instance=made)
        assert sum(counts(tmp_path / "layers.env")) in (32, 6)


def test_device_map_covers_the_model(tmp_path):
    """Layers split between attention and MLP: each weight of the model of transformers has one device."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra 'torch-test')"
    )
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 5, "vocab_size": 128}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=4, bos_token_id=0, eos_token_id=1)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    made = placer.import_hf(path, cluster="l4:3", work={"sequence": 64})
    placer.export(placer.solve(made), "device-map", tmp_path / "map.json", instance=made)
    found = json.loads((tmp_path / "map.json").read_text())
    with torch.device("meta"):
        names = list(transformers.LlamaForCausalLM(config).state_dict())
    for name in names:
        assert len([key for key in found if name == key or name.startswith(f"{key}.")]) == 1, name
    assert set(found.values()) == {0, 1, 2}
