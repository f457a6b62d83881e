#!/usr/bin/env python3
"""Draws the figures of bench/README.md as SVG into docs/images. With --check it only says whether the drawings are up to date.

Every value comes from a table of that file: no figure is drawn that was not measured.
"""

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench/README.md"
IMAGES = ROOT / "docs/images"

OURS, OTHERS = "#3f51b5", "#9e9e9e"
PARTS = ["#3f51b5", "#7986cb", "#26a69a", "#ffb74d", "#bdbdbd"]


class Tables:
    """The tables of a Markdown file, looked up by what their headings and rows say."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line.startswith("|") or not line.strip()]
        blocks = [block for block in re.split(r"\n{2,}", "\n".join(lines)) if block.startswith("|")]
        self.tables = [[[cell.strip() for cell in row.strip("|").split("|")] for row in block.strip().splitlines()] for block in blocks]

    def text(self, row, column, corner=None):
        """The value in this row and column; `corner` is the first cell of the table, where several have them."""
        found = {
            cells[table[0].index(column)].replace("*", "")
            for table in self.tables
            if column in table[0] and (corner is None or table[0][0] == corner)
            for cells in table[2:]
            if cells[0] == row
        }
        if len(found) != 1:
            sys.exit(f"{RESULTS}: {len(found)} values in the row '{row}', column '{column}'")
        return found.pop()


def number(text):
    """The larger end of a range such as 17–23."""
    return float(re.split("–", text)[-1].replace(",", ""))


def text(x, y, words, size=13, anchor="start", weight="normal", colour="#222"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">{escape(words)}</text>'


def bar(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}"/>'


def drawing(width, height, title, parts):
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def panel(x, y, title, rows, name_width=128, width=190):
    """Horizontal bars: rows of name, shown value, whether it is ours."""
    most = max(number(shown) for _, shown, _ in rows)
    parts = [text(x, y, title, weight="bold")]
    for at, (name, shown, ours) in enumerate(rows):
        top = y + 12 + at * 22
        length = width * number(shown) / most
        parts.append(text(x + name_width - 8, top + 13, name, size=12, anchor="end", weight="bold" if ours else "normal"))
        parts.append(bar(x + name_width, top + 2, length, 15, OURS if ours else OTHERS))
        parts.append(text(x + name_width + length + 6, top + 13, shown, size=12))
    return parts


def comparison(tables):
    study = "the study before"
    plain = "plain Rust program"
    at_rate, idle = "10,000/s, CPU % of a core", "idle, 1 message/s, CPU % of a core"
    reset = "a TCP reset every 5 s, missed %"
    ended = "missed %, the connection ends every 5 s"

    def before(row):
        names = {"Python program": "Python program *", "Redpanda Connect": "Redpanda Connect *", "existing connector": "existing connector *"}
        return [(shown, tables.text(row, column, study), False) for column, shown in names.items()]

    panels = [
        (
            "10,000 messages/s: processor, % of a core",
            [("worker", tables.text(at_rate, "worker", ""), True), ("plugin", tables.text(at_rate, "plugin", ""), True)]
            + [(plain, tables.text(at_rate, plain, ""), False)]
            + before(at_rate),
        ),
        (
            "1 message/s: processor, % of a core",
            [("worker", tables.text(idle, "worker", ""), True)]
            + [("plugin", tables.text("CPU % of a core", "plugin", "idle, 1 message/s, over 150 s after the warm-up"), True)]
            + [(plain, tables.text(idle, plain, ""), False)]
            + before(idle),
        ),
        (
            "reset every 5 s: messages missed, %",
            [("worker", tables.text("by a TCP reset", "worker", ended), True)]
            + [(plain, tables.text("by a TCP reset", plain, ended), False)]
            + before(reset),
        ),
        (
            "burst of 1,000,000: messages lost, %",
            [("plugin", tables.text("burst, lost", "plugin", "") or "0", True)]
            + [("existing connector *", tables.text("burst of 1,000,000, lost %", "existing connector", study), False)],
        ),
    ]
    parts = []
    for at, (title, rows) in enumerate(panels):
        parts += panel(20 + at % 2 * 410, 30 + at // 2 * 180, title, rows)
    notes = "* Measured on another day and a similar machine: ignore small differences. Shorter is better. All numbers: bench/README.md"
    parts.append(text(20, 366, notes, size=11, colour="#555"))
    return drawing(820, 380, "Processor time and lost messages, compared", parts)


def sizes(tables):
    """Processor time by size and transport."""
    rows = [f"{size}{way}" for way in ("", ", TLS", ", permessage-deflate") for size in ("200 B", "512 B", "4 KiB")]
    parts = [text(20, 28, "Processor seconds per million messages", size=15, weight="bold")]
    most = max(number(tables.text(row, "Python")) for row in rows)
    for at, row in enumerate(rows):
        top = 44 + at * 54
        parts.append(text(168, top + 26, row, size=12, anchor="end"))
        for line, (column, colour) in enumerate((("worker", OURS), ("plain", OTHERS), ("Python", "#d0d0d0"))):
            shown = tables.text(row, column)
            length = 500 * number(shown) / most
            parts.append(bar(178, top + line * 15, length, 13, colour))
            parts.append(text(184 + length, top + line * 15 + 11, f"{column} {shown}", size=11))
    return drawing(780, 44 + len(rows) * 54 + 10, "Processor time by size of the messages and transport", parts)


def threads(tables):
    """Where the processor time goes in Kafka Connect, by threads."""
    rows = ["the task's thread", "the socket's thread", "the producer's thread", "the garbage collector's", "the compilers'"]
    programs = ["plugin", "connect-floor", "plugin-bytes", "connect-floor-bytes"]
    parts = [text(20, 28, "Kafka Connect: processor seconds per million messages, by threads", size=15, weight="bold")]
    for at, program in enumerate(programs):
        x, top = 170.0, 46 + at * 34
        parts.append(text(160, top + 16, program, size=12, anchor="end"))
        for row, colour in zip(rows, PARTS):
            shown = tables.text(row, program)
            if shown == "–":
                continue
            length = 48 * number(shown)
            parts.append(bar(x, top, length, 22, colour))
            if length > 30:
                parts.append(text(x + length / 2, top + 15, shown, size=11, anchor="middle", colour="#fff" if colour == OURS else "#222"))
            x += length
    for at, (row, colour) in enumerate(zip(rows, PARTS)):
        parts.append(bar(20 + at * 152, 190, 12, 12, colour))
        parts.append(text(37 + at * 152, 200, row, size=11))
    return drawing(780, 216, "Processor time in Kafka Connect by threads", parts)


def main(arguments):
    tables = Tables(RESULTS.read_text(encoding="utf-8"))
    drawings = {"comparison.svg": comparison(tables), "sizes.svg": sizes(tables), "threads.svg": threads(tables)}
    stale = []
    for name, content in drawings.items():
        path = IMAGES / name
        if "--check" not in arguments:
            IMAGES.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
    if stale:
        sys.exit(f"docs/images: {', '.join(stale)} is not what bench/README.md says: run python3 scripts/site/plots.py")


if __name__ == "__main__":
    main(sys.argv[1:])
