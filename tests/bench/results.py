"""Samples by table, row and column, and what is said of them: the median, and the range they lie in.

A failed run is kept as a failure with its reason; it is never a figure.
"""

import dataclasses
import statistics

ROWS = ("direct", "relay", "cordon", "pasta", "slirp4netns")


@dataclasses.dataclass
class Table:
    """One table, one picture. `is_more_better` says which way a ratio is good; `axis` makes it a curve."""

    title: str
    unit: str
    is_more_better: bool = True
    digits: int = 1
    note: str = ""
    axis: str = ""
    cells: dict = dataclasses.field(default_factory=dict)  # row → column → Cell

    def cell(self, row, column):
        return self.cells.setdefault(row, {}).setdefault(column, Cell())

    @property
    def rows(self):
        """The direct path first, then each tool, at the MTU of a wire before its best."""
        names = list(dict.fromkeys(row.partition(" ")[0] for row in self.cells))
        order = sorted(names, key=lambda name: ROWS.index(name) if name in ROWS else len(ROWS))
        return sorted(self.cells, key=lambda row: (order.index(row.partition(" ")[0]), " " not in row))

    @property
    def columns(self):
        seen = {}
        for row in self.cells.values():
            seen.update(dict.fromkeys(row))
        return sorted(seen, key=int) if self.axis else list(seen)


@dataclasses.dataclass
class Cell:
    samples: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.samples) if self.samples else None

    @property
    def low(self):
        return min(self.samples)

    @property
    def high(self):
        return max(self.samples)


class Results:
    def __init__(self, tables):
        self.tables = tables

    def add(self, table, row, column, value):
        if value is not None:
            self.tables[table].cell(row, str(column)).samples.append(value)

    def fail(self, table, row, column, reason):
        self.tables[table].cell(row, str(column)).failures.append(reason)

    def median(self, table, row, column):
        """None where nothing was measured."""
        cells = self.tables[table].cells if table in self.tables else {}
        cell = cells.get(row, {}).get(str(column))
        return cell.median if cell else None

    def lacks(self, row):
        """What was tried for that row and gave no figure at all."""
        return [f"{name}: {column}: {cell.failures[-1]}" for name, table in self.tables.items()
                for column, cell in table.cells.get(row, {}).items() if cell.failures and not cell.samples]

    def json(self):
        return {name: {"title": table.title, "unit": table.unit, "rows": {
            row: {column: {"median": cell.median, "samples": cell.samples, "failures": cell.failures}
                  for column, cell in columns.items()} for row, columns in table.cells.items()}}
            for name, table in self.tables.items() if table.cells}
