"""What Python users meet: names, keywords, files, and errors that say what is expected."""

import json
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

import placer
from placer.errors import InputError, UsageError
from placer.options import OptionChanges, Options
from tests.studies.test_sweep import chain
from tests.support.plans import DATA


def test_keywords_are_the_options():
    assert OptionChanges.__annotations__.keys() == Options.model_fields.keys()
    for name, hint in get_type_hints(OptionChanges).items():
        default = Options.model_fields[name].get_default()
        allowed = get_args(hint) or (hint,)
        if isinstance(default, str) and name != "method":
            assert {str(v) for v in type(default)} == set(get_args(allowed[-1]))


def test_every_option_is_explained():
    """Schema and docstring say what the declaration says."""
    schema = Options.model_json_schema()["properties"]
    for name, field in Options.model_fields.items():
        assert schema[name]["description"] == field.description != ""
        assert f"\n{name} : " in Options.__doc__
        assert f"\n    {field.description}" in Options.__doc__


def test_dir_shows_what_is_for_users():
    assert set(dir(placer)) == {*placer.__all__, "__version__"}
    assert all(hasattr(placer, name) for name in placer.__all__)


def test_instances_are_saved_and_read_again(tmp_path):
    path = tmp_path / "chain.json"
    placer.save(chain(), path)
    again = placer.load(path)
    assert again.ids == chain().ids
    assert placer.load(json.loads(path.read_text())).ids == chain().ids
    with pytest.raises(UsageError, match="expected an instance, got dict"):
        placer.save({}, path)


@pytest.mark.parametrize(
    ("wrong", "error", "rule"),
    [
        ({}, InputError, "not an instance"),
        ([], UsageError, "expected the path of an instance"),
        (3, UsageError, "expected the path of an instance"),
        ({"format": "placer-instance", "version": 1}, InputError, "nodes"),
    ],
)
def test_what_is_no_instance(wrong, error, rule):
    with pytest.raises(error, match=rule):
        placer.load(wrong)


def test_a_path_is_no_instance():
    path = str(DATA / "textbook.json")
    with pytest.raises(placer.UsageError, match="expected an instance, got str"):
        placer.solve(path)
    result = placer.solve(placer.load(path))
    with pytest.raises(placer.UsageError, match="expected an instance, got Result"):
        placer.check(result, placer.load(path))


def test_torch_models_in_every_form():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    model, x = torch.nn.Linear(2, 3), torch.zeros(1, 2)
    for given in (
        (model, (x,)),
        (model, x),
        (model, {"input": x}),
        lambda: (torch.nn.Linear(2, 3), torch.zeros(1, 2)),
    ):
        assert placer.import_torch(given, cluster=["a100", "a100"]).classes[0].count == 2
    for wrong, error, rule in (
        (model, UsageError, "a module needs example arguments"),
        ((model, ()), InputError, "the example arguments do not fit"),
        ((model,), InputError, "must return"),
        (3, UsageError, "expected MODULE:FACTORY"),
    ):
        with pytest.raises(error, match=rule):
            placer.import_torch(wrong, cluster="a100:2")
    with pytest.raises(UsageError, match="a cluster is a name"):
        placer.import_torch((model, x), cluster=3)


def test_reserves_that_are_shares_follow_the_memory():
    classes = tuple(replace(cls, memory_reserve_share=0.25) for cls in chain().classes)
    instance = chain().replace(classes=classes)
    assert [d.memory_limit_bytes for d in instance.devices] == [30, 30]
    table = placer.sweep(instance, ["memory=20,40,80"])
    rooms = [kept[0].devices[0].memory_limit_bytes for kept in table.results if kept]
    assert rooms == [15, 30, 60]
