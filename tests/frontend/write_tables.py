"""Writes the parser's tables anew: `python -m tests.frontend.write_tables`.

To be run whenever grammar/cnn.lark or the parser's options change, or for a newer Lark.
"""

from pathlib import Path

from lark import Lark

from cnnc.base.resources import read_resource
from cnnc.frontend.grammar import OPTIONS
from cnnc.frontend.tables import SHIPPED, tables_key, write_tables

FILE = Path(__file__).resolve().parents[2] / "grammar" / SHIPPED


def main() -> None:
    """Write the file in this checkout."""
    text = read_resource("grammar", "cnn.lark")
    FILE.write_bytes(write_tables(Lark(text, **OPTIONS), tables_key(text, OPTIONS)) + b"\n")


if __name__ == "__main__":
    main()
