"""``placer traffic``: an answer of ``placer serve`` with requests that arrive."""

import json

import pytest

from placer.cli import main
from tests.support.served import DENSE, answer, nodes_of, served


@pytest.fixture
def file(tmp_path):
    """Two stages of 1.2 ms each and a return hop of 0.2 ms: three microbatches of two take 3.6 ms."""
    nodes = nodes_of(DENSE)
    plan = served(nodes, ["a"] * 10 + ["b"] * (len(nodes) - 10))
    plan = plan.model_copy(update={"tpot_ms": 3.6, "tokens_per_s": 6 / 3.6e-3})
    path = tmp_path / "served.json"
    path.write_text(answer(plan).to_json())
    return path


def figures(capsys, *arguments):
    assert main(["traffic", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_saturation_and_queueing(file, capsys):
    """Of 64 tokens each, 26 requests per second saturate."""
    busy = figures(capsys, file, "--rate", 100, "--requests", 400, "--prompt", 1, "--output", 64)
    assert busy["saturated"]["tpot_ms"] == pytest.approx(3.6, rel=1e-3)
    assert busy["saturated"]["tokens_per_s"] == pytest.approx(6 / 3.6e-3, rel=1e-3)
    assert busy["tokens_per_s"] == pytest.approx(6 / 3.6e-3, rel=0.05)
    assert busy["most_running"] == 6
    calm = figures(capsys, file, "--rate", 1, "--requests", 400, "--prompt", 1, "--output", 64)
    # On its own a sequence needs 2.4 ms and the hop; two in a hundred meet another.
    assert calm["tpot_ms"]["median"] == pytest.approx(2.6, rel=1e-3)
    assert calm["queue_ms"]["median"] == 0
    assert busy["queue_ms"]["mean"] > 1000 > calm["queue_ms"]["largest"]


def test_prompts_take_their_share(file, capsys):
    """A prompt of 1,024 tokens takes 2 ms on each stage: one of 512 half of it."""
    seen = figures(capsys, file, "--rate", 0.5, "--requests", 3, "--prompt", 512, "--output", 2)
    assert seen["ttft_ms"]["median"] == pytest.approx(2.0)


def test_requests_of_a_file(file, capsys, tmp_path):
    table = tmp_path / "requests.csv"
    table.write_text("arrival_s,prompt_tokens,output_tokens\n0,512,1\n10,1000,3\n")
    seen = figures(capsys, file, "--requests-file", table)
    assert (seen["requests"], seen["peak_tokens"]) == (2, 1003)
    table.write_text("arrival_s,prompt_tokens,output_tokens\n0,1000,25\n")
    assert main(["traffic", str(file), "--requests-file", str(table)]) == 2
    assert "a request of 1025 tokens is longer than the plan's context, 1024" in capsys.readouterr().err
    assert main(["traffic", str(file), "--requests-file", str(table), "--rate", "2"]) == 2


def test_words(file, capsys):
    assert main(["traffic", str(file), "--requests", "50"]) == 0
    out = capsys.readouterr().out
    assert "50 requests in" in out
    assert "saturated: 3.6 ms per token" in out


def test_a_plan_that_does_not_hold(file, capsys):
    text = json.loads(file.read_text())
    text["plan"]["tpot_ms"] = 3.0
    file.write_text(json.dumps(text))
    assert main(["traffic", str(file)]) == 1
    assert (
        "the plan says 3 ms per token, but microbatches that go round take 3.6 ms" in capsys.readouterr().err
    )
