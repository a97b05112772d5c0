"""A picture of a table, drawn by hand: bars for figures side by side, lines for cost as it grows.

Each panel of bars has a scale of its own, from zero; the figure stands at the end of the bar, and a thin line
shows the range of all runs. Colours follow the reader's light or dark scheme, and each tool keeps its own in all
pictures; a lighter bar is the same tool at MTU 1500.
"""

from xml.sax.saxutils import escape

from report import number

WIDTH, PANEL, MARGIN = 760, 360, 20
BAR, GAP, HEAD = 16, 6, 58
NAME, VALUE = 110, 78  # room for a tool's name before a bar and for its figure after it

# Ink, quiet ink, paper, grid, and a colour for each tool: in light, and in dark.
LIGHT = {"ink": "#24292f", "quiet": "#59636e", "paper": "#ffffff", "grid": "#d1d9e0", "direct": "#818b98",
         "relay": "#afb8c1", "cordon": "#0969da", "pasta": "#c4621f", "slirp4netns": "#2f8f46"}
DARK = {"ink": "#e6edf3", "quiet": "#9198a1", "paper": "#0d1117", "grid": "#3d444d", "direct": "#9198a1",
        "relay": "#6e7681", "cordon": "#58a6ff", "pasta": "#f0883e", "slirp4netns": "#56d364"}
TOOLS = ("direct", "relay", "cordon", "pasta", "slirp4netns")


def colours(scheme):
    rules = [f"text {{ fill: {scheme['ink']} }}", f".quiet {{ fill: {scheme['quiet']} }}",
             f".paper {{ fill: {scheme['paper']} }}", f".grid {{ stroke: {scheme['grid']} }}",
             f".range {{ stroke: {scheme['ink']} }}"]
    for tool in TOOLS:
        rules.append(f".{tool} .bar, .{tool} circle, .{tool} .name {{ fill: {scheme[tool]} }}")
        rules.append(f".{tool} polyline {{ stroke: {scheme[tool]} }}")
    return "\n".join(rules)


STYLE = f"""
text {{ font: 12px system-ui, "DejaVu Sans", sans-serif }}
.title {{ font-size: 15px; font-weight: 600 }} .panel, .name {{ font-weight: 600 }}
.end {{ text-anchor: end }} .middle {{ text-anchor: middle }}
.grid {{ stroke-width: 1 }} .range {{ stroke-width: 1.5 }} polyline {{ fill: none; stroke-width: 2.5 }}
.wire {{ opacity: .55 }}
{colours(LIGHT)}
@media (prefers-color-scheme: dark) {{
{colours(DARK)}
}}
"""


def draw(table):
    return lines(table) if table.axis else bars(table)


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(str(words))}</text>'


def tool_class(row):
    tool, _, mtu = row.partition(" ")
    return f"{tool} wire" if mtu else tool


def page(table, height, shapes):
    direction = "more is better" if table.is_more_better else "less is better"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(table.title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>',
        text(MARGIN, 26, table.title, "title"),
        text(MARGIN, 44, f"{table.unit}, {direction}; thin line: range of all runs. {table.note}", "quiet"),
        *shapes, "</svg>", ""])


# Bars.

def bars(table):
    shapes, rows = [], table.rows
    height = 24 + len(rows) * (BAR + GAP) + 14
    for i, column in enumerate(table.columns):
        x = MARGIN + i % 2 * (PANEL + MARGIN)
        y = HEAD + i // 2 * height
        shapes += panel(table, column, rows, x, y)
    count = (len(table.columns) + 1) // 2
    return page(table, HEAD + count * height + 6, shapes)


def panel(table, column, rows, x, y):
    cells = [(row, table.cells[row].get(column)) for row in rows]
    most = max((cell.high for _, cell in cells if cell and cell.samples), default=0) or 1
    scale = (PANEL - NAME - VALUE) / most
    shapes = [text(x, y + 14, column, "panel")]
    for i, (row, cell) in enumerate(cells):
        top = y + 24 + i * (BAR + GAP)
        shapes += bar(table, row, cell, x, top, scale)
    return shapes


def bar(table, row, cell, x, top, scale):
    middle, left = top + BAR / 2, x + NAME
    shapes = [text(left - 6, middle + 4, row, "end")]
    if cell is None or not cell.samples:
        return shapes + [text(left + 4, middle + 4, "failed" if cell else "not measured", "quiet")]
    shapes.append(f'<g class="{tool_class(row)}"><rect class="bar" x="{left}" y="{top}" rx="2" height="{BAR}" '
                  f'width="{max(cell.median * scale, 1):.1f}"/></g>')
    if cell.high > cell.low:
        shapes.append(f'<line class="range" x1="{left + cell.low * scale:.1f}" x2="{left + cell.high * scale:.1f}" '
                      f'y1="{middle}" y2="{middle}"/>')
    return shapes + [text(left + cell.high * scale + 6, middle + 4, number(cell.median, table.digits))]


# Lines.

LEFT, RIGHT, TOP, BOTTOM = 90, WIDTH - 120, HEAD + 16, 330


def lines(table):
    columns = table.columns
    most = max((cell.high for row in table.cells.values() for cell in row.values() if cell.samples), default=0) or 1
    most = round_up(most)
    places = {column: LEFT + i * (RIGHT - LEFT) / max(len(columns) - 1, 1) for i, column in enumerate(columns)}

    def height(value):
        return BOTTOM - value / most * (BOTTOM - TOP)

    shapes = []
    for step in range(5):
        value = most * step / 4
        y = height(value)
        shapes.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        shapes.append(text(LEFT - 8, y + 4, f"{value:,.4g}" if most < 10000 else f"{value:,.0f}", "end quiet"))
    for column, x in places.items():
        shapes.append(text(x, BOTTOM + 20, f"{int(column):,}", "middle quiet"))
    shapes.append(text((LEFT + RIGHT) / 2, BOTTOM + 40, table.axis, "middle"))
    ends = []
    for row in table.rows:
        cells = table.cells[row]
        points = [(places[column], cells[column]) for column in columns if column in cells and cells[column].samples]
        shapes += curve(row, points, height)
        if points:
            ends.append((height(points[-1][1].median), row, points[-1][0]))
    return page(table, BOTTOM + 56, shapes + names(ends))


def curve(row, points, height):
    path = " ".join(f"{x:.1f},{height(cell.median):.1f}" for x, cell in points)
    shapes = [f'<g class="{tool_class(row)}">', f'<polyline points="{path}"/>']
    for x, cell in points:
        shapes.append(f'<circle cx="{x:.1f}" cy="{height(cell.median):.1f}" r="4"/>')
        if cell.high > cell.low:
            shapes.append(f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{height(cell.low):.1f}" '
                          f'y2="{height(cell.high):.1f}"/>')
    return [*shapes, "</g>"]


def names(ends):
    """Names at the lines' ends, moved apart where they would lie on each other."""
    shapes, last = [], 0.0
    for y, row, x in sorted(ends):
        last = max(y, last + 15)
        shapes.append(f'<g class="{tool_class(row)}">{text(x + 10, last + 4, row, "name")}</g>')
    return shapes


def round_up(value):
    """The next of 1, 2, 4, 5, 8 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)
