"""Print the table: ``python -m tests.audit``."""

from tests.audit.cells import COLUMNS, Verdict
from tests.audit.table import TABLE


def main() -> None:
    """One row after the other: who obeys it, and who does not for which reason."""
    for row in TABLE:
        reasons: dict[str, list[str]] = {}
        for column in COLUMNS:
            cell = row.cell(column)
            reasons.setdefault(f"{cell.verdict}: {cell.words}".removesuffix(": "), []).append(column)
        print(f"{row.name} ({row.kind})")
        for reason, columns in reasons.items():
            everyone = len(columns) == len(COLUMNS)
            print(f"    {'all' if everyone else ', '.join(columns)}: {reason}")
    cells = [row.cell(column).verdict for row in TABLE for column in COLUMNS]
    print(", ".join(f"{cells.count(verdict)} {verdict}" for verdict in Verdict))


if __name__ == "__main__":
    main()
