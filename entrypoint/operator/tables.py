"""How an answer is drawn: as tables, as a list where they do not fit, as plain lines in a pipe.

No name breaks across lines, so that people can mark and copy it, and grep finds it. `printable`
escapes names from the server: a table's name with a newline, a quote or a terminal's escape
sequence cannot forge a row.
"""

import io
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROW: Final = 100  # columns of a terminal below which rows are lists
PROSE: Final = 24  # the least number of columns for sentences
_GAP: Final = 2
_ENDLESS: Final = 1 << 16  # columns of a line in a pipe

_STYLES: Final = {
    "misplaced": "bold red",
    "failed": "bold red",
    "notice": "bold magenta",  # yellow cannot be read on a light terminal
    "drifted": "bold magenta",
}


class Column(NamedTuple):
    """A column of a section."""

    head: str
    prose: bool = False  # whether it has sentences, which may go on in the next line
    number: bool = False


def columns(heads: str) -> list[Column]:
    """Columns by heads between commas; ``#`` marks one of numbers, ``~`` one of sentences."""
    return [
        Column(head.lstrip("#~"), prose=head[0] == "~", number=head[0] == "#")
        for head in heads.split(", ")
    ]


class Section(NamedTuple):
    """Rows of one kind; `draw` leaves out a section without any."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""
    leading: int = 1  # columns whose cells are the first line of a row in a list


def draw(sections: Iterable[Section], width: int | None, *last: str) -> str:
    """Draw the sections, then the lines ``last``, ``width`` columns wide; None is a pipe."""
    out = io.StringIO()
    console = Console(file=out, width=width or _ENDLESS, force_terminal=width is not None)
    shown = [_used(_escaped(each)) for each in sections if each.rows]
    for number, section in enumerate(shown):
        if number:
            console.print()
        if section.title:
            _print(console, Text(section.title, "bold"))
        if width is None:
            _lines(console, section)
        elif width >= NARROW and (table := _table(section, width)):
            console.print(table)
        else:
            _list(console, section)
    if shown and last:
        console.print()
    for line in last:
        _print(console, Text(printable(line)))
    return out.getvalue()


def printable(text: str) -> str:
    """Escape every character that a terminal would not simply show."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _escaped(section: Section) -> Section:
    rows = [[printable(cell) for cell in row] for row in section.rows]
    return section._replace(rows=rows, title=printable(section.title))


def _used(section: Section) -> Section:
    used = [at for at in range(len(section.columns)) if any(row[at] for row in section.rows)]
    return section._replace(
        columns=[section.columns[at] for at in used],
        rows=[[row[at] for at in used] for row in section.rows],
        leading=sum(at < section.leading for at in used),
    )


def _table(section: Section, width: int) -> Table | None:
    """None if the table needs more than ``width`` columns to break no word."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    needed = 0
    for at, column in enumerate(section.columns):
        cells = [column.head, *(row[at] for row in section.rows)]
        words = [word for cell in cells for word in cell.split(" ")] if column.prose else cells
        least = max(PROSE if column.prose else 0, *map(cell_len, words))
        needed += least + _GAP
        table.add_column(
            column.head,
            min_width=least,
            no_wrap=not column.prose,
            justify="right" if column.number else "left",
        )
    for row in section.rows:
        table.add_row(*map(_painted, row))
    return table if needed <= width else None


def _painted(cell: str, otherwise: str = "") -> Text:
    return Text(cell, _STYLES.get(cell, otherwise))


def _list(console: Console, section: Section) -> None:
    first, rest = section.columns[: section.leading], section.columns[section.leading :]
    if not section.title:
        _print(console, Text(f"{', '.join(column.head for column in first)}:", "bold"))
    for row in section.rows:
        head = (_painted(cell, "bold") for cell in row[: len(first)] if cell)
        _print(console, Text(" " * _GAP).join(head))
        short: list[Text] = []
        for column, cell in zip(rest, row[len(first) :], strict=True):
            if cell and not column.prose:
                short.append(Text(f"{column.head}: ").append(_painted(cell)))
            elif cell:
                short = _flow(console, short)
                _print(console, _painted(cell), f"{'':{_GAP}}{column.head}: ")
        _flow(console, short)


def _flow(console: Console, cells: Iterable[Text]) -> list[Text]:
    """Print as many cells in a line as fit; return the empty list that is left."""
    line, space = Text(), " " * _GAP
    for cell in cells:
        if line and _GAP + line.cell_len + _GAP + cell.cell_len > console.width:
            console.print(Text(space).append(line), crop=False, soft_wrap=True)
            line = Text()
        line = Text(space).join([line, cell]) if line else cell
    if line:
        console.print(Text(space).append(line), crop=False, soft_wrap=True)
    return []


def _print(console: Console, text: Text, head: str = "") -> None:
    """Wrap text between words behind a head, or below the head if the longest word is too long."""
    longest = max(map(cell_len, text.plain.split(" ")))
    if len(head) > 2 * _GAP and len(head) + longest > console.width:
        console.print(Text(head.rstrip()), crop=False, soft_wrap=True)
        head = " " * (2 * _GAP)
    room = max(console.width - len(head), longest, 1)
    for line in text.wrap(console, room):
        line.rstrip()
        console.print(Text(head).append(line), crop=False, soft_wrap=True)
        head = " " * len(head)


def _lines(console: Console, section: Section) -> None:
    rows = [[column.head for column in section.columns], *section.rows]
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(section.columns))]
    for row in rows:
        cells = []
        for cell, width, column in zip(row, widths, section.columns, strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if column.number else cell + space)
        console.print(Text((" " * _GAP).join(cells).rstrip()), crop=False, soft_wrap=True)
