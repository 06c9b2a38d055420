"""The parser's tables as JSON: making them takes longer than most texts."""

import json
from hashlib import sha256
from typing import Any

import lark
from lark import Lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

SHIPPED = "cnn.tables.json"
"""The file beside the grammar with the tables that one version of Lark makes of it."""
_FORM = "tables 1"
"""The number is raised whenever what is kept of the parser changes its form."""
_PAIRS = "pairs"


def tables_key(grammar: str, options: dict[str, Any]) -> str:
    """All that the tables depend on."""
    return sha256(f"{_FORM} {lark.__version__} {options}\n{grammar}".encode()).hexdigest()


def write_tables(parser: Lark, key: str) -> bytes:
    """What `read_tables` makes the same parser of."""
    tables, memo = parser.memo_serialize([TerminalDef, Rule])
    kept = _without_numbers({"key": key, "lark": lark.__version__, "data": tables, "memo": memo})
    return json.dumps(kept, separators=(",", ":")).encode()


def read_tables(data: bytes, key: str) -> Lark | None:
    """The parser of the tables; None where they are not those of the key, or not sound."""
    try:
        found = json.loads(data, object_hook=_with_numbers)
        if found["key"] != key:
            return None
        made: Lark = Lark.load(found)  # a mapping, so that nothing is unpickled
    except Exception:  # whatever Lark makes of tables that are not its own
        return None
    return made


def _without_numbers(value: object) -> object:
    """Lark's tables for JSON, which has no numbers as keys: such a mapping as pairs."""
    if isinstance(value, dict):
        pairs = [(key, _without_numbers(each)) for key, each in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key in value) else {_PAIRS: pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_numbers(each) for each in value]
    return value


def _with_numbers(value: dict[str, Any]) -> dict[Any, Any]:
    return dict(value[_PAIRS]) if _PAIRS in value else value
