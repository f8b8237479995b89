"""What the commands are given is what their parsers read."""

from importlib import import_module
from keyword import iskeyword

import pytest

from placer.cli.arguments import parser
from placer.cli.plan_arguments import TRACE_SAMPLES
from placer.options import Options
from placer.simulation.trace import DEFAULT_SAMPLES
from placer.studies.training.training_choices import TrainingRequest

(COMMANDS,) = (action.choices for action in parser()._actions if action.dest == "command")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"schema"}))
def test_arguments_are_those_of_the_parser(name):
    module = import_module(f"placer.cli.{name}_" if iskeyword(name) else f"placer.cli.{name}")
    read = {action.dest for action in COMMANDS[name]._actions} - {"help", "debug"}
    declared = module.Arguments.__annotations__.keys()
    assert declared <= read
    fields = TrainingRequest.model_fields if name == "plan" else Options.model_fields
    assert read - declared <= fields.keys()


def test_options_are_flags_of_all_commands_that_solve():
    for name in ("solve", "compare", "sweep", "batch"):
        read = {action.dest for action in COMMANDS[name]._actions}
        assert read >= Options.model_fields.keys() - {"method", "near"}, name


def test_the_default_of_the_trace_is_that_of_the_library():
    assert TRACE_SAMPLES == DEFAULT_SAMPLES
