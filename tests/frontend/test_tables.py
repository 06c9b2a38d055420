"""The parser's tables that come with cnnc are those of its grammar."""

import json

import lark
import pytest
from lark import Lark
from lark.grammar import Rule
from lark.parsers.lalr_analysis import Shift

from cnnc.base.resources import read_resource
from cnnc.frontend.grammar import OPTIONS, make_parser
from cnnc.frontend.tables import SHIPPED, read_tables, tables_key

GRAMMAR = read_resource("grammar", "cnn.lark")
DATA = read_resource("grammar", SHIPPED).encode()
KEY = tables_key(GRAMMAR, OPTIONS)
AGAIN = "python -m tests.frontend.write_tables"


def shipped() -> Lark:
    """The parser of the file, where the same Lark is there that made it."""
    if json.loads(DATA)["lark"] != lark.__version__:
        pytest.skip(f"the tables are not of Lark {lark.__version__}")
    made = read_tables(DATA, KEY)
    assert made, AGAIN
    return made


def described(rule: Rule) -> tuple[object, ...]:
    """All that reducing by a rule depends on."""
    how = rule.options
    symbols = [(each.name, each.is_term) for each in (rule.origin, *rule.expansion)]
    options = (how.keep_all_tokens, how.expand1, how.priority, tuple(how.empty_indices))
    return str(rule.origin.name), symbols, rule.alias, rule.order, options


def same_tables(one: Lark, two: Lark) -> bool:
    """Whether both parsers do the same in all states that are reached, whatever their numbers."""
    tables = [each.parser.parser._parse_table for each in (one, two)]
    pairs = {
        tables[0].start_states[each]: tables[1].start_states[each] for each in OPTIONS["start"]
    }
    left, seen = list(pairs.items()), set(pairs.items())
    while left:
        rows = [table.states[state] for table, state in zip(tables, left.pop(), strict=True)]
        if rows[0].keys() != rows[1].keys():
            return False
        for name, (action, value) in rows[0].items():
            other_action, other = rows[1][name]
            if action is not other_action:
                return False
            if action is not Shift:
                if described(value) != described(other):
                    return False
            elif pairs.setdefault(value, other) != other:
                return False
            elif (value, other) not in seen:
                seen.add((value, other))
                left.append((value, other))
    return True


def test_the_tables_are_those_of_the_grammar() -> None:
    made, found = Lark(GRAMMAR, **OPTIONS), shipped()
    assert same_tables(made, found), AGAIN
    terminals = [{(each.name, str(each.pattern)) for each in p.terminals} for p in (made, found)]
    assert terminals[0] == terminals[1], AGAIN


def test_no_tables_are_made_where_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped()
    monkeypatch.setattr("cnnc.frontend.grammar.Lark", None)
    assert make_parser().parse_interactive(start="header")


def test_tables_of_another_grammar_are_not_taken() -> None:
    assert read_tables(DATA, tables_key(GRAMMAR + "\n", OPTIONS)) is None
