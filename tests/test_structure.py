"""The map of the sources: no import in a circle, few modules at the top, nothing too long, each name once."""

import ast
from collections import Counter
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
AT_THE_TOP = 14
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
PARAMETERS = 10
LEVELS = 4
NAMED_ALIKE = {
    "api": "what a folder offers to Python",
    "arrays": "the arrays of the kernels beside it; at the top the types of all arrays",
    "batch check compare flow serve solve sweep": "the command, and what it calls",
    "cost memory": "the objective, and the method that decides it by questions",
    "ordered paper": "the formulation of that name, for either objective",
    "plan": "what a plan is, and the command that looks for one of a whole training run",
    "paper_json": "the paper's format, read and written",
    "views": "how the kernels beside it see their arrays",
}
"""Modules that share a name because they mean the same."""
MANY_PARAMETERS = {
    "placer.instance.instance.build": "one for each field of an instance",
    "placer.studies.batch.batch.solve_batch": "public: one for each option of the command",
}
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)


def sources() -> dict[str, Path]:
    found = {}
    for path in sorted((*(ROOT / "placer").rglob("*.py"), *(ROOT / "formulations").rglob("*.py"))):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports() -> list[tuple[str, str]]:
    """All imports between modules, those within functions and for types alone included."""
    modules, found = sources(), []
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                wanted = [full if full in modules else str(node.module) for full in inside]
            else:
                continue
            found += [(name, other) for other in wanted if other in modules and other != name]
    assert len(found) > 500
    return found


def circles(pairs):
    graph = nx.DiGraph(pair for pair in pairs if pair[0] != pair[1])
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_no_file_imports_itself_through_others():
    # The package only says where its names are, for type checkers and on first use.
    assert circles((a, b) for a, b in imports() if a != "placer") == []


def test_no_folder_imports_itself_through_others():
    modules = sources()

    def folder(name):
        parent = modules[name].parent.relative_to(ROOT)
        # What lies directly in the package is small and used everywhere: each file stands for itself.
        return name if str(parent) == "placer" else str(parent)

    assert circles((folder(a), folder(b)) for a, b in imports() if a != "placer") == []


def test_few_modules_at_the_top():
    assert len(list((ROOT / "placer").glob("*.py"))) <= AT_THE_TOP


@pytest.mark.parametrize("package", ["placer", "formulations"])
def test_every_folder_says_what_belongs_there(package):
    for init in (ROOT / package).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init


def test_nothing_is_too_long():
    long = []
    for name, path in sources().items():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LINES_OF_A_FILE:
            long.append(f"{name}: {text.count(chr(10))} lines")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths = {f"{name}.{node.name}": node.end_lineno - node.lineno + 1 for node in functions}
        long += [f"{where}: {lines} lines" for where, lines in lengths.items() if lines > LINES_OF_A_FUNCTION]
    assert long == []


def functions():
    for name, path in sources().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{name}.{node.name}", node


def levels(node, level=0):
    """How many blocks lie within each other; `elif` continues the one before it."""
    deepest = level
    for child in ast.iter_child_nodes(node):
        continues = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            deepest = max(deepest, levels(child, level + (isinstance(child, BLOCKS) and not continues)))
    return deepest


def test_no_function_takes_too_much():
    many = set()
    for name, node in functions():
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = [a for a in given if a.arg not in ("self", "cls")]
        many |= {name} if len(own) > PARAMETERS else set()
    assert many == set(MANY_PARAMETERS)


def test_no_function_is_nested_too_deeply():
    assert {name: deep for name, node in functions() if (deep := levels(node)) > LEVELS} == {}


def test_no_two_modules_of_one_name():
    alike = {name for names in NAMED_ALIKE for name in names.split()}
    found = Counter(path.stem for path in sources().values() if not path.stem.startswith("__"))
    assert {name for name, count in found.items() if count > 1} == alike
