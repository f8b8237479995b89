"""Parts of the reference that are made from the program itself, each time that the pages are built."""

import argparse
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

from sphinx.application import Sphinx

from placer.cli.arguments import parser
from placer.options import OptionChanges, Options

GENERATED = Path(__file__).resolve().parents[1] / "_generated"


def command_line() -> Iterator[str]:
    """Describe every command with all its arguments."""
    (commands,) = _commands(parser())
    for name, command in commands.choices.items():
        yield from _command(f"placer {name}", command, 2)


def _commands(command: argparse.ArgumentParser) -> list[argparse._SubParsersAction]:
    return [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]


def _command(name: str, command: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    description, _, rest = inspect.cleandoc(command.description or "").partition("\n\n")
    yield f"{_prose(' '.join(description.split()))}\n"
    for text in filter(None, (rest.strip("\n"), inspect.cleandoc(command.epilog or ""))):
        yield f"````text\n{text}\n````\n"
    for group in command._action_groups:
        shown = [a for a in group._group_actions if _shown(a)]
        if shown:
            yield f"**{group.title}**\n"
            for action in shown:
                yield f"{_invocation(action)}\n: {_prose(_help(command, action))}\n"
    for inner in _commands(command):
        for more, made in inner.choices.items():
            yield from _command(f"{name} {more}", made, level + 1)


def _shown(action: argparse.Action) -> bool:
    hidden = isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
    return not hidden and action.help is not argparse.SUPPRESS


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return command._get_formatter()._expand_help(action) if action.help else "see above"


def _invocation(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter("placer")
    return f"`{formatter._format_action_invocation(action)}`"


def options() -> Iterator[str]:
    """List the options of a solve."""
    yield "| option | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in Options.model_fields.items():
        kind = OptionChanges.__annotations__[name].__forward_arg__.replace("|", "\\|")
        default = field.default.value if hasattr(field.default, "value") else repr(field.default)
        yield f"| `{name}` | `{kind}` | `{default}` | {_prose(str(field.description))} |\n"


def _prose(text: str) -> str:
    """Keep Markdown from reading what is no Markdown."""
    for sign in "\\*_<>[]|":
        text = text.replace(sign, f"\\{sign}")
    return text


PAGES: dict[str, Callable[[], Iterator[str]]] = {"command-line": command_line, "options": options}


def write(app: Sphinx) -> None:
    """Write all parts; one that has not changed keeps its time, so that nothing is built again for it."""
    GENERATED.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path, text = GENERATED / f"{name}.md", "\n".join(make()).replace("|\n\n|", "|\n|")
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the parts before anything is read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
