"""Names that are none of those there are: close ones are suggested, and what there is is listed."""

import pytest

from placer import UsageError, solve
from placer.choices import close_to, none_of, offer
from placer.imports.catalogue import find_cluster
from placer.studies.batch.grid import expand
from placer.studies.compare import compare
from tests.cli.test_cli import call, one_line
from tests.support.random_instances import random_instance


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("troughput", ["latency", "throughput"], "throughput"),
        ("Local_Search", ["local-search", "greedy"], "local-search"),
        ("layers.11.mlp", ["layers.1.attn", "layers.11.mlp.0"], "layers.11.mlp.0"),
        ("gpu:0", ["0-gpu", "gpux"], "0-gpu"),
        ("magic", ["auto", "milp"], None),
        ("x", [], None),
    ],
)
def test_close_names(name, known, meant):
    assert close_to(name, known) == meant


def test_what_there_is_is_listed_up_to_a_number():
    assert none_of("format", "dott", ["dot", "csv"]) == (
        "there is no format 'dott' (did you mean 'dot'?); choose from dot, csv"
    )
    assert offer("zzz", (f"n{i}" for i in range(30))).endswith("n22, n23 and 6 more")
    assert offer("zzz", ()) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"objective": "troughput"},
            "objective: invalid value 'troughput' (did you mean 'throughput'?)",
        ),
        ({"schedule": "2f2b"}, "choose from 1f1b, gpipe"),
        ({"objektive": "latency"}, "there is no option 'objektive' (did you mean 'objective'?)"),
        ({"method": "mlip"}, "there is no method 'mlip' (did you mean 'milp'?)"),
        ({"pin": {"v00": ("acc0",)}}, "no node is called 'v00', and none matches it (did you mean 'v0'?)"),
        ({"use_devices": ("ac0",)}, "'ac0' is no device and no class (did you mean 'acc0'?)"),
    ],
)
def test_options_in_python(changes, words):
    with pytest.raises(UsageError) as caught:
        solve(random_instance(0), **changes)
    assert words in str(caught.value)


def test_names_of_methods_and_options_elsewhere():
    with pytest.raises(UsageError, match="did you mean 'greedy'"):
        compare(random_instance(0), ["greddy"])
    for grid, words in (({"method": "dpp"}, "did you mean 'dp'"), ({"gpa": 0.1}, "did you mean 'gap'")):
        with pytest.raises(UsageError, match=words):
            expand([grid])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sovle"], "there is no command 'sovle' (did you mean 'solve'?); choose from solve, check"),
        (
            ["solve", "x", "--objective", "troughput"],
            "(did you mean 'throughput'?); choose from through",
        ),
        (["solve", "x", "--method", "mlip"], "(did you mean 'milp'?); choose from auto"),
        (
            ["solve", "x", "--tim-limit", "3"],
            "--tim-limit 3 (did you mean --time-limit?)",
        ),
        (
            ["batch", "x", "--out", "y", "--schedule", "1f2b"],
            "(did you mean '1f1b'?); choose from 1f1b",
        ),
        (
            ["export", "x", "--to", "graphlm", "--out", "y"],
            "(did you mean 'graphml'?); choose from vllm",
        ),
        (["import", "onxx", "x"], "(did you mean 'onnx'?); choose from onnx, torch, pipedream"),
    ],
)
def test_the_command_line(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in one_line(err)


def test_both_notations_for_devices():
    for text in ("a100:2,t4", "2xa100,t4:1", "2xa100,1xt4"):
        assert [(c.type, c.count) for c in find_cluster(text).classes] == [("a100", 2), ("t4", 1)]
    assert find_cluster("4xa100-nvlink").name == "4xa100-nvlink", "a name of the catalogue comes first"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2xa1000", "2xa100"),
        ("A100:2", "a100:2"),
        ("4xa100-nvlnk", "4xa100-nvlink"),
        ("t4:1,a1000:3", "a100:3"),
    ],
)
def test_close_names_of_devices(text, meant):
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        find_cluster(text)
