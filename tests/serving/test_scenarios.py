"""The scenarios of ``docs/how-to/serve-scenarios.md``, and that the page says their answers."""

import json
from pathlib import Path

import pytest

from placer.cli import main
from placer.exports.server_commands import RUNTIMES
from placer.serving.serving_plan import ServingResult
from placer.simulation.serving_answer import saturation_ms
from tests.support.level import LEVEL, QUICK
from tests.support.server_rules import vllm_ranges

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "serve-scenarios.md").read_text(encoding="utf-8")
LLAMA, DEEPSEEK, SMALL = ("llama-3.1-70b.json", "deepseek-v3.json", "llama-3-8b.json")
HOME = str(ROOT / "data" / "serving" / "home.toml") + ":home"

SCENARIOS = {
    "8xl4": ((LLAMA, "8xl4", "--weights", "fp8", "--context", "2048"), 415.33, "415.3 tokens/s"),
    "home 8B": ((SMALL, HOME, "--objective", "tpot", "--concurrency", "3"), 20.941, "20.94 ms per token"),
    "home 70B": ((LLAMA, HOME, "--weights", "int4", "--objective", "tpot"), 63.161, "63.16 ms per token"),
    "three cards": (
        (LLAMA, "2xrtx3090-rtx4090", "--weights", "int4", "--context", "8192"),
        148.52,
        "148.5 tokens/s",
    ),
    "a100 and t4": (
        (LLAMA, "a100:1,t4:3", "--weights", "int4", "--context", "4096"),
        180.80,
        "180.8 tokens/s",
    ),
    "16 h100": (
        (
            DEEPSEEK,
            "2x8xh100-nvlink@infiniband-hdr",
            "--context",
            "8192",
            "--concurrency",
            "64",
            "--objective",
            "tpot",
        ),
        40.073,
        "40.07 ms per token",
    ),
}
SCENARIOS["experts on the host"] = (
    ("qwen3-30b-a3b.json", "rtx3090:2,epyc-7763:1", "--context", "8192", "--objective", "tpot"),
    14.818,
    "14.82 ms per token",
)
QUICK_ONES = ("8xl4", "home 70B")


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, capsys):
    """Proven, on the page, the same at saturation when run event by event, and what servers can start."""
    if LEVEL == QUICK and name not in QUICK_ONES:
        pytest.skip("runs where everything is tested (PLACER_TEST_LEVEL=full)")
    (config, devices, *asked), value, shown = SCENARIOS[name]
    file = ROOT / "data" / "serving" / config
    assert main(["serve", str(file), "--devices", devices, *asked, "--json", "--quiet"]) == 0
    result = ServingResult.model_validate_json(capsys.readouterr().out)
    assert result.status == "optimal"
    assert result.value == pytest.approx(value, rel=1e-4)
    assert result.bound == pytest.approx(value, rel=1e-4)
    assert shown in PAGE
    plan = result.plan
    assert saturation_ms(plan) == pytest.approx(plan.tpot_ms, rel=1e-3)
    assert plan.tokens_per_s == pytest.approx(1e3 * plan.batch * plan.microbatches / plan.tpot_ms)
    if any(stage.host for stage in plan.stages):
        script, _ = RUNTIMES["llama.cpp"](plan, "model.gguf")
        assert script.count(" -ot ") == 2
        return
    script, _ = RUNTIMES["vllm"](plan, "model")
    if len(plan.stages) > 1:
        partition = script.splitlines()[1].split()[0].partition("=")[2]
        layers = json.loads(file.read_text())["num_hidden_layers"]
        ranges = vllm_ranges(partition, layers, len(plan.stages))
        assert ranges == [stage.layers for stage in plan.stages]
