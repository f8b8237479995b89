"""Layered flows made of models: against pipelines that ``placer serve`` plans, and their documents."""

import json

import numpy as np
import pytest

from placer.cli import main
from placer.errors import UsageError
from placer.language.configuration import language_model
from placer.layered_flow.flow_file import flow_document, load_flow
from placer.serving.flow_of_model import flow_of_model
from placer.serving.serve import serve, served
from placer.serving.serving_request import ServingRequest
from tests.support.language_models import MODELS


def on(devices, name="Llama-3-8B", **asked):
    return served(language_model(MODELS[name][0]), devices, ServingRequest(**asked))


@pytest.mark.parametrize(("devices", "context"), [("a100:1", 2048), ("l4:1", 1024), ("rtx4090:1", 512)])
def test_all_layers_on_one_device(devices, context):
    """As fast as the only pipeline there is, whose memory is counted a little closer."""
    model, request = on(devices, context=context, concurrency=64)
    problem = flow_of_model(model, context, 64)
    alone = problem.rates[0][-1]
    best = serve(model, request).value
    assert len(problem.rates[0]) == 32
    assert 0.9 * best <= alone <= best * (1 + 1e-9)


def test_fewer_layers_pass_more_and_some_do_not_fit():
    """Of 80 layers in 16 bits (1.6 GiB each) an L4 holds 12 with room for keys and values."""
    model, _ = on("l4:2", "Llama-3-70B", context=2048)
    (rates, again) = flow_of_model(model, 2048).rates
    assert rates.tolist() == again.tolist()
    assert (np.diff(rates) < 0).all()
    room = 24 * 0.9 * 2**30 - 2 * 128256 * 8192
    layer = 2 * (8192 * 8192 * 2 + 2 * 8192 * 1024 + 3 * 8192 * 28672)
    cache = 2048 * 4096
    fits = [k for k in range(1, 81) if k * layer + k * -(-80 // k) * cache <= room]
    assert len(rates) == fits[-1]


def test_command_and_document(tmp_path, capsys):
    config, file = tmp_path / "config.json", tmp_path / "flow.json"
    config.write_text(json.dumps(MODELS["Llama-3-8B"][0]))
    asked = ["serve", str(config), "--devices", "a100:1,t4:1", "--context", "1024", "--problem", str(file)]
    flow = [*asked, "--layout", "flow", "--gap", "0.05", "--json", "--quiet"]
    assert main(flow) == 0
    result = json.loads(capsys.readouterr().out)
    model, _ = on("a100:1,t4:1", context=1024)
    assert flow_document(load_flow(file)) == flow_document(flow_of_model(model, 1024))
    assert main(["flow", str(file), "--json", "--quiet", "--gap", "0.05"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["tokens_per_s"] == pytest.approx(result["tokens_per_s"], rel=0.05)
    assert main([*flow, "--objective", "tpot"]) == 2
    assert "--layout flow knows throughput alone" in capsys.readouterr().err
    assert main(asked) == 2


def test_instances_are_refused():
    model, _ = on("l4:1", context=64)
    model.batches = False
    with pytest.raises(UsageError, match="takes language models"):
        flow_of_model(model, 64)
