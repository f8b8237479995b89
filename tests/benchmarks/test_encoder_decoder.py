"""A T5 put in a row, against the graph that it comes from."""

import json

import pytest

import placer
from tests.benchmarks.encoder_decoder import chained, t5

pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")
pytest.importorskip("transformers", reason="transformers is not installed (extra 'torch-test')")
TOKENS, WIDTH = 16, 32
SIZES = {"d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_heads": 4, "num_layers": 3}


def total(document, key):
    values = [node.get(key, 0) for node in document["nodes"]]
    return sum(sum(v.values()) if isinstance(v, dict) else v for v in values)


def test_layers_in_a_row_pass_the_result_of_the_encoder_along(tmp_path):
    file = tmp_path / "t5.json"
    options = {"cluster": "a100:1", "by": "module", "training": True, "precision": "fp32"}
    placer.save(placer.import_torch(t5(TOKENS, SIZES), **options), file)
    document = json.loads(file.read_text())
    chain = chained(document, 2)
    forward = [node for node in chain["nodes"] if not node.get("backward")]
    layers = [f"{part}.block.{i}" for part in ("encoder", "decoder") for i in range(3)]
    assert [node["id"] for node in forward] == ["embedding", *layers, "head"]
    for key in ("weight_bytes", "activation_bytes"):
        assert total(chain, key) == pytest.approx(total(document, key))
    graph = [
        n for n in document["nodes"] if n["id"].removesuffix("/backward") + "/backward" in places(document)
    ]
    assert total(chain, "time_ms") == pytest.approx(total({"nodes": graph}, "time_ms"))
    hidden = 4 * TOKENS * WIDTH
    # Hidden states alone from the end of the encoder to the decoder; then the encoder's and the decoder's.
    assert [node["output_bytes"] for node in forward][3] == hidden
    assert [node["output_bytes"] for node in forward][4:] == [2 * hidden, 2 * hidden, hidden, 0]
    written = tmp_path / "chain.json"
    written.write_text(json.dumps(chain))
    result = placer.solve(placer.load(written), objective="step", microbatches=4)
    assert result.status == "optimal"


def places(document):
    return {node["id"] for node in document["nodes"]}
