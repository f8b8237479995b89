"""Prefill and decode on devices of their own: against trying everything, refused questions, the command."""

import json
from itertools import combinations, pairwise, permutations
from math import ceil, inf
from pathlib import Path

import numpy as np
import pytest

from placer.cli import main
from placer.errors import UsageError
from placer.language.configuration import language_model
from placer.plans.result import Status
from placer.serving.disaggregated import serve_disaggregated
from placer.serving.disaggregated_check import violations
from placer.serving.recomputed_costs import recomputed
from placer.serving.serve import served
from placer.serving.serving_request import ServingRequest
from placer.simulation.disaggregated_traffic import PromptStage, saturated_groups
from tests.support.language_models import MODELS
from tests.support.level import LEVEL, QUICK, first, seeds

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = (
    "t4:2",
    "l4:1,t4:1",
    "t4:1,rtx3090:2",
    "a100:1,l4:1,t4:1",
    "2xl4:1,t4:1@ethernet-10g",
    "3x1xt4@usb3",
)


def question(seed):
    """A wide model of few layers, on two or three devices with little memory."""
    rng = np.random.default_rng(seed)
    config = {**MODELS["Llama-3-8B"][0], "num_hidden_layers": int(rng.integers(1, 4))}
    if rng.random() < 0.3:
        config["tie_word_embeddings"] = True
    prompt = int(rng.integers(100, 20_000))
    asked = ServingRequest(
        context=prompt + int(rng.choice([2, 5, 100, 2000])),
        prompt=prompt,
        concurrency=int(rng.integers(1, 6)),
        max_ttft_ms=float(rng.uniform(20, 4000)) if rng.random() < 0.3 else None,
        max_tpot_ms=float(rng.uniform(3, 200)) if rng.random() < 0.3 else None,
        replicas=(1, 2) if rng.random() < 0.3 else (1,),
        gap=1e-7,
    )
    devices = str(rng.choice(CLUSTERS))
    return served(language_model(config), devices, asked, reserve=float(rng.uniform(0.1, 0.9)))


def groups(model, request):
    """All pipelines: nodes and devices of each stage, its replicas, whatever memory they need."""
    names = [name for pool in model.pools for name in pool.names]
    of = {name: pool for pool in model.pools for name in pool.names}
    cuts = [k for k in range(1, len(model.ids)) if model.cuts[k]]
    teams = [(name,) for name in names]
    if 2 in request.replicas:
        teams += [pair for pair in combinations(names, 2) if of[pair[0]] is of[pair[1]]]
    for count in range(1, len(names) + 1):
        for inner in combinations(cuts, count - 1):
            ends = [0, *inner, len(model.ids)]
            spans = [range(i, j) for i, j in pairwise(ends)]
            for chosen in permutations(teams, count):
                used = [name for team in chosen for name in team]
                if len(set(used)) == len(used):
                    yield frozenset(used), list(zip(spans, chosen, strict=True))


class Tried:
    """What a pipeline gives, written down from the definition."""

    def __init__(self, model, prompt, context):
        self.model, self.prompt, self.context = model, prompt, context
        self.n = len(model.ids)
        self.costs = {}

    def at(self, batch, context):
        key = batch, context
        if key not in self.costs:
            self.costs[key] = recomputed(self.model, batch, context, self.prompt)
        return self.costs[key]

    def fits(self, costs, spans, each):
        for span, team in spans:
            held = sum(costs.weight_bytes(v, 1) + each(team) * costs.cache_bytes(v, 1) for v in span)
            held -= costs.tied_bytes() if len(span) == self.n else 0.0
            if held > costs.devices[team[0]].room_bytes * (1 + 1e-9):
                return False
        return True

    def loads(self, costs, spans, time, *, prompt):
        out = []
        for s, (span, team) in enumerate(spans):
            device, load = costs.devices[team[0]], sum(time(v, costs.devices[team[0]]) for v in span)
            for v, other in ((span[0] - 1, s - 1), (span[-1], s + 1)):
                if 0 <= other < len(spans):
                    load += costs.move_ms(v, device, costs.devices[spans[other][1][0]], 1, prompt=prompt)
            out.append(load)
        return out

    def hand_over(self, spans):
        costs, slowest = self.at(1, self.prompt), 0.0
        for span, team in spans:
            device, spent = costs.devices[team[0]], 0.0
            for v in span:
                size = costs.cache_bytes(v, 1)
                links = [device.cls.link] + ([device.uplink] if device.uplink else [])
                if size:
                    spent += max(k.latency_ms + 1e3 * size / k.bandwidth_bytes_per_s for k in links)
            slowest = max(slowest, spent / len(team))
        return slowest

    def prefill(self, spans):
        """Time per request, and to the first token; None without room."""
        costs = self.at(1, self.prompt)
        if not self.fits(costs, spans, lambda _: 2):
            return None
        loads = self.loads(costs, spans, lambda v, d: costs.prompt_ms(v, d, 1), prompt=True)
        slowest = max(load / len(team) for load, (_, team) in zip(loads, spans, strict=True))
        return max(slowest, self.hand_over(spans)), sum(loads)

    def step(self, spans, batch, microbatches, share=0.0):
        """Time per token, with this share of a prompt per step; None without room."""
        costs = self.at(batch, self.context)
        if not self.fits(costs, spans, lambda team: ceil(microbatches / len(team))):
            return None
        loads = np.array(self.loads(costs, spans, lambda v, d: costs.time_ms(v, d, 1), prompt=False))
        if share:
            more = self.loads(costs, spans, lambda v, d: costs.prompt_ms(v, d, 1), prompt=True)
            loads = loads + share * np.array(more)
        back, first, last = 0.0, costs.devices[spans[0][1][0]], costs.devices[spans[-1][1][0]]
        if len(spans) > 1:
            back = costs.move_ms(self.n - 1, last, first, 1) + costs.move_ms(self.n - 1, first, last, 1)
        slowest = max(load / len(team) for load, (_, team) in zip(loads, spans, strict=True))
        return max(sum(loads) + back, microbatches * slowest)


def everything(model, request):
    """The most requests per second of two groups, and of the same devices doing both; 0 for none."""
    steps = request.context - request.prompt - 1
    tried = Tried(model, request.prompt, request.context)
    limit, first = request.max_tpot_ms or inf, request.max_ttft_ms or inf
    prefill, decode, together = {}, {}, 0.0
    for used, spans in groups(model, request):
        found = tried.prefill(spans)
        if found is not None and found[1] <= first:
            prefill[used] = min(prefill.get(used, inf), found[0])
        for batch in range(1, request.concurrency + 1):
            for microbatches in range(1, request.concurrency // batch + 1):
                took = tried.step(spans, batch, microbatches)
                if took is not None and took <= limit:
                    rate = min(
                        1e3 * batch * microbatches / took / steps,
                        1e3 / h if (h := tried.hand_over(spans)) else inf,
                    )
                    decode[used] = max(decode.get(used, 0.0), rate)
                both = tried.step(spans, batch, microbatches, batch / steps)
                if both is not None and both <= limit:
                    together = max(together, 1e3 * batch * microbatches / both / steps)
    pairs = [min(1e3 / p, d) for a, p in prefill.items() for b, d in decode.items() if not a & b]
    return max(pairs, default=0.0), together


@pytest.mark.parametrize("seed", seeds(16))
def test_against_trying_everything(seed):
    model, request = question(seed)
    best, together = everything(model, request)
    found = serve_disaggregated(model, request)
    if best:
        assert (found.status, found.value) == (Status.OPTIMAL, pytest.approx(best, rel=1e-6))
    else:
        assert found.status is Status.INFEASIBLE
    if together:
        assert found.together.requests_per_s == pytest.approx(together, rel=1e-6)
    else:
        assert found.together.plan is None


def simulated(result):
    stages = [PromptStage(s.replicas, s.load_ms, s.hand_over_ms) for s in result.prefill.stages]
    return saturated_groups(stages, result.decode, result.arrive_ms, result.output - 1)


@pytest.mark.parametrize("seed", seeds(8, start=1))
def test_groups_that_always_have_requests_serve_as_many(seed):
    found = first(lambda s: result if (result := serve_disaggregated(*question(s))).value else None, seed)
    assert simulated(found) == pytest.approx(found.value, rel=1e-3)


@pytest.fixture(scope="module")
def slow_links():
    """Long prompts of which little is answered, on three cards in servers of their own."""
    asked = ServingRequest(context=20_010, prompt=20_000, concurrency=4, gap=1e-6)
    config = {**MODELS["Llama-2-7B"][0], "num_hidden_layers": 2}
    model, request = served(language_model(config), "3x1xa100@usb3", asked)
    return model, request, serve_disaggregated(model, request)


def test_links_between_the_groups_limit(slow_links):
    model, request, found = slow_links
    assert found.limited_by == (f"the links between the groups: {found.value:.4g} requests/s",)
    assert found.value == pytest.approx(everything(model, request)[0], rel=1e-6)
    assert found.value < found.together.requests_per_s
    assert simulated(found) == pytest.approx(found.value, rel=1e-3)


def changes(result):
    """Answers with one thing wrong each, and what is said of it."""
    first_stage, prefill = result.prefill.stages[0], result.prefill

    def stage(**given):
        stages = (first_stage.model_copy(update=given), *prefill.stages[1:])
        return result.model_copy(update={"prefill": prefill.model_copy(update={"stages": stages})})

    yield result.model_copy(update={"value": 2 * result.value}), "value"
    yield result.model_copy(update={"bound": 0.5 * result.value}), "worse than the value"
    yield result.model_copy(update={"handed_over_per_s": None}), "handed_over_per_s"
    yield result.model_copy(update={"arrive_ms": ()}), "arrive_ms has 0 times"
    yield result.model_copy(update={"output": result.output + 1}), "were not asked for"
    yield stage(load_ms=0.5 * first_stage.load_ms), "load_ms"
    yield stage(hand_over_ms=0.0), "hand_over_ms"
    yield stage(cache_bytes=0.0), "cache_bytes"
    yield stage(nodes=first_stage.nodes[1:]), "do not hold the nodes"
    yield stage(devices=result.decode.stages[0].devices), "in both groups"
    yield stage(devices=("nowhere",)), "there is no device 'nowhere'"
    fewer = result.decode.model_copy(update={"tokens_per_s": 1.0})
    yield result.model_copy(update={"decode": fewer}), "tokens_per_s"
    slower = result.together.model_copy(update={"requests_per_s": 1.0})
    yield result.model_copy(update={"together": slower}), "together: requests_per_s"


def test_what_is_wrong_is_named(slow_links):
    model, _, result = slow_links
    assert violations(model, result) == []
    for wrong, words in changes(result):
        assert any(words in line for line in violations(model, wrong)), words


@pytest.mark.parametrize(
    ("asked", "devices", "words"),
    [
        ({"context": 100}, "t4:2", "needs --prompt P and --context C"),
        ({"context": 100, "prompt": 99}, "t4:2", "at least two"),
        ({"context": 100, "prompt": 50, "objective": "tpot"}, "t4:2", "knows throughput alone"),
        ({"context": 100, "prompt": 50}, "t4:1,epyc-7763:1", "accelerators alone"),
    ],
)
def test_refused(asked, devices, words):
    model, request = served(language_model(MODELS["GPT-2"][0]), devices, ServingRequest(**asked))
    with pytest.raises(UsageError, match=words):
        serve_disaggregated(model, request)


def test_one_device_is_no_two_groups():
    asked = ServingRequest(context=100, prompt=50, concurrency=4)
    model, request = served(language_model(MODELS["GPT-2"][0]), "t4:1", asked)
    result = serve_disaggregated(model, request)
    assert result.status is Status.INFEASIBLE
    assert "no two groups" in result.message
    assert result.together.requests_per_s > 0


def test_command(tmp_path, capsys):
    config, answer = tmp_path / "config.json", tmp_path / "answer.json"
    config.write_text(json.dumps({**MODELS["Llama-3-8B"][0], "num_hidden_layers": 2}))
    asked = ["serve", str(config), "--devices", "t4:2", "--context", "600", "--prompt", "500", "--quiet"]
    asked += ["--layout", "disaggregated", "--concurrency", "4", "--out", str(answer)]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "requests/s of 500 + 100 tokens" in printed
    assert "the same devices doing both: " in printed
    assert main(["check", str(config), str(answer)]) == 0
    assert "both groups, memory, loads, hand-over and value hold" in capsys.readouterr().out
    assert main(["traffic", str(answer), "--json"]) == 0
    rates = json.loads(capsys.readouterr().out)
    assert rates["requests_per_s"] == pytest.approx(rates["predicted"], rel=1e-3)
    assert main(["traffic", str(answer), "--rate", "1"]) == 2
    written = json.loads(answer.read_text())
    written["prefill"]["stages"][0]["load_ms"] *= 2
    answer.write_text(json.dumps(written))
    assert main(["check", str(config), str(answer)]) == 1
    capsys.readouterr()
    assert main(["report", str(answer), "--out", str(tmp_path / "page.html")]) == 2


def test_the_page_says_what_is_found(capsys):
    """The example of docs/how-to/disaggregate.md."""
    if LEVEL == QUICK:
        pytest.skip("runs where everything is tested (PLACER_TEST_LEVEL=full)")
    config = str(ROOT / "data" / "serving" / "llama-3-8b.json")
    asked = ["--layout", "disaggregated", "--prompt", "1024", "--context", "1280", "--quiet"]
    assert main(["serve", config, "--devices", "a100:1,l4:2", *asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    page = (ROOT / "docs" / "how-to" / "disaggregate.md").read_text(encoding="utf-8")
    shown = page.split("```text\n")[1].split("```")[0].splitlines()
    assert len(shown) == 5
    for line in shown:
        assert any(found.startswith(line) for found in lines), line
