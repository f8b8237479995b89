"""Tables of plans: what stands in their cells."""

import io

from rich.console import Console

from placer.cli.tables import print_result
from placer.formats.files import load
from placer.solving.solve import solve
from tests.support.plans import DATA


def test_long_names_are_short_in_tables_and_whole_in_results():
    instance = load(DATA / "textbook.json")
    names = [f"model/layers.{v}/attention/output/projection/MatMul" for v in range(instance.n)]
    instance = instance.replace(names=tuple(names), ids=tuple(names))
    result = solve(instance, method="milp")
    table = io.StringIO()
    print_result(instance, result, Console(file=table, width=200))
    assert set(result.assignment) == set(names)
    assert not any(name in table.getvalue() for name in names)
    for device in result.devices:
        if len(device.nodes) == 1:
            number = names.index(device.nodes[0])
            assert f"…{number}/…projection/MatMul" in table.getvalue()
