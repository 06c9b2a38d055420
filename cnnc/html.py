"""Tables and texts as HTML for notebooks; whatever stands in them is escaped."""

from collections.abc import Sequence
from html import escape
from typing import Protocol

from cnnc.table import Column, Table


class Printer(Protocol):
    """What IPython prints text with, where it shows no HTML."""

    def text(self, text: str) -> None:
        """Print this."""
        ...


_CELL = "padding:0.15em 0.6em"


def table_html(table: Table) -> str:
    """A table with its titles and its line of totals."""
    head = "".join(_cell("th", column.title, column) for column in table.columns)
    body = "".join(_row("td", row, table) for row in table.rows)
    foot = f"<tfoot>{_row('th', table.total, table)}</tfoot>" if table.total else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"


def heading_html(name: str, rest: str) -> str:
    """A line with a name that stands out."""
    return f"<p><strong>{_escape(name)}</strong> {_escape(rest)}</p>"


def text_html(text: str) -> str:
    """Lines as they are."""
    return f"<pre>{_escape(text)}</pre>"


def _row(tag: str, cells: Sequence[str], table: Table) -> str:
    made = (_cell(tag, cell, each) for cell, each in zip(cells, table.columns, strict=True))
    return f"<tr>{''.join(made)}</tr>"


def _cell(tag: str, text: str, column: Column) -> str:
    side = "right" if column.is_number else "left"
    return f'<{tag} style="text-align:{side};{_CELL}">{_escape(text)}</{tag}>'


def _escape(text: str) -> str:
    shown = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return escape(shown)
