"""Parts of the reference that are made from the program itself, each time that the pages are built."""

import argparse
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from placer.cli.arguments import parser
from placer.formats import documents
from placer.imports.catalogue import catalogue
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
    yield "| option | type | default | meaning |\n|---|---|---|---|"
    for name, field in Options.model_fields.items():
        kind = OptionChanges.__annotations__[name].__forward_arg__.replace("|", "\\|")
        default = field.default.value if hasattr(field.default, "value") else repr(field.default)
        yield f"| `{name}` | `{kind}` | `{default}` | {_prose(str(field.description))} |"


INSTANCE = (
    ("The file", documents.NativeInstance),
    ("nodes[]", documents.NativeNode),
    ("nodes[].shards", documents.NativeShard),
    ("nodes[].origin", documents.NativeOrigin),
    ("cluster", documents.NativeCluster),
    ("cluster.classes[]", documents.NativeClass),
    ("link and uplink", documents.NativeLink),
    ("cluster.servers[]", documents.NativeServer),
    ("training", documents.NativeTraining),
    ("constraints", documents.NativeConstraints),
    ("source", documents.NativeSource),
)
"""What an instance file is made of, by where it stands."""


def instance_format() -> Iterator[str]:
    """List the fields of an instance file."""
    for title, model in INSTANCE:
        schema = model.model_json_schema()
        yield f"### {title}\n\n{_prose(inspect.getdoc(model).replace('``', ''))}\n"
        yield "| field | type | default | meaning |\n|---|---|---|---|"
        for name, field in schema["properties"].items():
            needed = name in schema.get("required", ())
            default = "needed" if needed else f"`{_json(field.get('default'))}`"
            meaning = _prose(model.model_fields[name].description or "")
            yield f"| `{name}` | {_kind(field)} | {default} | {meaning} |"
        yield ""


def _kind(field: dict[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{_json(field['const'])}`"
    if "$ref" in field:
        return "object"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(part) for part in field["anyOf"]))
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}" if "items" in field else "list"
    return str(field.get("type", "any"))


def _json(value: object) -> str:
    return "{}" if isinstance(value, dict) else json.dumps(value)


def devices() -> Iterator[str]:
    """List the catalogue, with the source of every figure."""
    whole = catalogue()
    precisions = list(dict.fromkeys(p for d in whole.devices.values() for p in d.peak_tflops))
    yield "## Devices\n"
    yield f"| name | what it is | {' | '.join(precisions)} | GB/s | GiB | link | source |"
    yield "|---" * (len(precisions) + 6) + "|"
    for name, device in sorted(whole.devices.items()):
        peaks = " | ".join(
            f"{device.peak_tflops[p]:g}" if p in device.peak_tflops else "" for p in precisions
        )
        memory = "" if device.memory_gib is None else f"{device.memory_gib:g}"
        yield (
            f"| `{name}` | {_prose(device.description)} | {peaks} | {device.bandwidth_gb_per_s:g} | {memory} "
            f"| {f'`{device.link}`' if device.link else ''} | {_source(device.source)} |"
        )
    yield "\n## Links\n\n| name | what it is | GB/s | latency, ms | source |\n|---|---|---|---|---|"
    for name, link in sorted(whole.links.items()):
        yield (
            f"| `{name}` | {_prose(link.description)} | {link.gb_per_s:g} | {link.latency_ms:g} "
            f"| {_source(link.source)} |"
        )
    yield "\n## Clusters\n\n| name | what it is | devices |\n|---|---|---|"
    for name, cluster in whole.clusters.items():
        held = ", ".join(f"{c.count} `{c.device}`" for c in cluster.classes)
        yield f"| `{name}` | {_prose(cluster.description)} | {held} |"


def _source(text: str) -> str:
    return f"[data sheet]({text})" if text.startswith("http") else _prose(text)


def _prose(text: str) -> str:
    """Keep Markdown from reading what is no Markdown."""
    for sign in "\\*_<>[]|":
        text = text.replace(sign, f"\\{sign}")
    return text


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "command-line": command_line,
    "devices": devices,
    "instance-format": instance_format,
    "options": options,
}


def write(app: Sphinx) -> None:
    """Write all parts; one that has not changed keeps its time, so that nothing is built again for it."""
    GENERATED.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path, text = GENERATED / f"{name}.md", "\n".join(make())
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the parts before anything is read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
