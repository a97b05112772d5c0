"""The tables and the verdicts as text for a terminal, in Markdown that a README can take as it is."""

import math


def number(value, digits):
    return f"{value:,.{digits}f}"


def cell_text(cell, digits):
    if cell is None:
        return "–"
    if not cell.samples:
        return "failed"
    text = number(cell.median, digits)
    if len(cell.samples) > 1:
        text += f" ({number(cell.low, digits)}–{number(cell.high, digits)})"
    if cell.failures:
        text += f", {len(cell.failures)} failed"
    return text


def table_text(table):
    columns = table.columns
    head = [table.axis or "", *(f"{int(column):,}" if table.axis else column for column in columns)]
    rows = [[row, *(cell_text(table.cells[row].get(column), table.digits) for column in columns)]
            for row in table.rows]
    direction = "more is better" if table.is_more_better else "less is better"
    lines = [f"### {table.title} ({table.unit}, {direction})", "", *markdown(head, rows)]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines)


def markdown(head, rows):
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def join(line):
        first, *rest = line
        cells = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:]))]
        return "| " + " | ".join(cells) + " |"

    return [join(head), "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |",
            *map(join, rows)]


def bound_text(target, bound):
    if bound is None or math.isinf(bound) or (bound == 0 and target.is_more_better):
        return "–"
    return f"{'≥' if target.is_more_better else '≤'} {bound:g}"


def targets_text(targets):
    rows = []
    missing = [target.what for target in targets if target.found is None]
    for target in targets:
        if target.found is None:
            continue
        found = f"{target.found:.2f} {target.unit}"
        aim = bound_text(target, target.aim)
        verdict = target.verdict
        if bound_text(target, target.least) == "–":
            verdict = "aim reached" if target.reaches_aim else "aim not reached"
        elif target.reaches_aim:
            verdict += ", and the aim"
        rows.append([target.what, found, bound_text(target, target.least), aim, verdict])
    lines = ["### Targets", "", *markdown(["what", "found", "at least", "aim", "verdict"], rows)]
    if missing:
        names = "; ".join(missing) if len(missing) < 12 else f"{len(missing)} others"
        lines += ["", f"Not measured: {names}."]
    return "\n".join(lines)


def report_text(machine, results, targets, remarks):
    parts = ["\n".join(f"{key}: {value}" for key, value in machine.items())]
    parts += [table_text(table) for table in results.tables.values() if table.cells]
    parts.append(targets_text(targets))
    if remarks:
        parts.append("\n".join(f"* {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"
