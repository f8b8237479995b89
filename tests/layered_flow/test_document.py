"""Files of layered flows: what is refused, in one line that names the place."""

import json

import numpy as np
import pytest

import placer
from placer.errors import InputError, UsageError
from placer.layered_flow.flow_file import load_flow, load_flow_result
from tests.support.flows import complete, document


def small():
    return document(2, {"a": [9.0, 4.0], "b": [3.0]}, complete("ab", 5.0))


def test_what_is_read():
    problem = load_flow(small())
    assert (problem.layers, problem.names) == (2, ("a", "b"))
    assert [rate.tolist() for rate in problem.rates] == [[9.0, 4.0], [3.0]]
    assert np.array_equal(problem.links, [[0, 5, 5], [5, 0, 5], [5, 5, 0]])


def test_rates_beyond_the_layers_count_for_nothing():
    problem = load_flow(document(2, {"a": [9.0, 4.0, 3.0, 2.0]}, complete("a", 5.0)))
    assert problem.rates[0].tolist() == [9.0, 4.0]


def _at(path, value):
    def change(flow):
        *before, last = path
        for part in before:
            flow = flow[part]
        flow[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_at(["format"], "placer-instance"), "the format is not \"placer-flow\", but 'placer-instance'"),
        (_at(["version"], 2), "version: "),
        (_at(["layer"], 2), "layer: unknown field"),
        (_at(["layers"], 0), "layers: "),
        (_at(["layers"], 10**9), "layers: "),
        (_at(["devices", 0, "speed"], 2), r"devices\[0\].speed: unknown field"),
        (_at(["devices", 0, "tokens_per_s"], []), r"devices\[0\].tokens_per_s: "),
        (_at(["devices", 1, "tokens_per_s"], [-1.0]), r"devices\[1\].tokens_per_s\[0\]: "),
        (_at(["devices", 1, "tokens_per_s"], ["3"]), r"devices\[1\].tokens_per_s\[0\]: expected a number"),
        (_at(["devices", 1, "name"], "a"), r"devices\[1\].name: 'a' is also the name of devices\[0\]"),
        (_at(["devices", 1, "name"], "sink"), r"devices\[1\].name: 'sink' is reserved"),
        (_at(["devices", 1, "name"], "b\u202e"), r"devices\[1\].name: control or invisible"),
        (_at(["links", 0, "tokens_per_s"], float("inf")), r"links\[0\].tokens_per_s: "),
        (_at(["links", 0, "to"], "c"), r"links\[0\].to: there is no device 'c'"),
        (_at(["links", 0, "from"], "sink"), r"links\[0\].from: there is no device 'sink'"),
        (_at(["links", 0, "to"], "a"), r"links\[0\]: a link from a to a leads back"),
        (_at(["links", 1], small()["links"][0]), r"links\[1\]: a second link from a to b"),
        (_at(["links", 0], {"from": "source", "to": "sink", "tokens_per_s": 1.0}), "serves no layer"),
    ],
)
def test_what_is_refused(change, rule, tmp_path):
    flow = small()
    change(flow)
    with pytest.raises(InputError, match=rule):
        load_flow(flow)
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow))
    with pytest.raises(InputError, match=f"flow.json: .*{'' if 'inf' in str(flow) else rule}"):
        load_flow(file)


def test_what_is_no_flow(tmp_path):
    with pytest.raises(UsageError, match="path of a layered flow"):
        placer.flow([])
    with pytest.raises(InputError, match="not a layered flow"):
        placer.flow({})
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match=r"list\.json: not a layered flow"):
        placer.flow(tmp_path / "list.json")
    with pytest.raises(InputError, match="there are no ranges"):
        load_flow_result(tmp_path / "list.json")


def test_results_are_read_again(tmp_path):
    result = placer.flow(small())
    file = tmp_path / "plan.json"
    file.write_text(result.to_json())
    assert load_flow_result(file) == result
    written = json.loads(file.read_text())
    assert {"status", "tokens_per_s", "bound", "ranges", "flows", "seconds"} <= written.keys()
    assert {"from", "to", "tokens_per_s"} == written["flows"][0].keys()
