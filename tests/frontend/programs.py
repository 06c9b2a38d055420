"""Programs that parse: those of the repository, drawn ones, and the same in other layouts."""

import re
from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

from cnnc.base.errors import UserError
from cnnc.base.source import SourceFile
from cnnc.frontend.grammar import language
from cnnc.frontend.parse import parse
from cnnc.frontend.tokens import ITEM_WORDS, read_tokens

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^```cnn\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILES = tuple(
    path for folder in ("examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.cnn"))
)
BROKEN = tuple(sorted((ROOT / "tests" / "errors").glob("*.cnn")))
"""Files with mistakes, many of which are no mistakes of syntax."""
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def parses(text: str) -> bool:
    """Whether a text is in the language, whatever it means."""
    try:
        parse(SourceFile("test.cnn", text))
    except UserError:
        return False
    return True


def repository_programs() -> list[str]:
    """Every program of the repository that is in the language, but for the many like each other."""
    texts = [path.read_bytes().decode("utf-8", errors="replace") for path in (*FILES, *BROKEN)]
    pages = [page.read_text(encoding="utf-8") for page in PAGES if page.name != "errors.md"]
    texts += [each for page in pages for each in FENCED.findall(page)]
    texts = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    return [text for text in texts if parses(text)]


# ── drawn programs ──────────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["a", "x", "relu", "conv", "width", "a_name_that_is_not_short_at_all", "Ä"])
ANY_NAMES = st.one_of(NAMES, st.sampled_from(["input", "output", "net", "weights"]))
NUMBERS = st.sampled_from(["0", "3", "007", "1.5", "1e-5", "123456789"])
STRINGS = st.sampled_from(['""', '"a.npz"', '"with # and  two spaces"', '"{i}.*"'])
LEAVES = st.one_of(NAMES, NUMBERS, STRINGS, st.sampled_from(["in", "true", "false", "[]", "f()"]))
SIGNS = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "<=", "or", "and"])


def lists(items: st.SearchStrategy[str], least: int = 1, most: int = 4) -> st.SearchStrategy[str]:
    """Items with commas between them, and now and then one behind the last."""
    comma = st.sampled_from(["", "", ","]) if least else st.just("")
    several = st.lists(items, min_size=least, max_size=most).map(", ".join)
    return st.tuples(several, comma).map("".join)


def _stages(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = lists(st.one_of(inner, st.tuples(ANY_NAMES, inner).map(" = ".join)))
    call = st.tuples(NAMES, arguments).map(lambda it: f"{it[0]}({it[1]})")
    branches = st.lists(inner, min_size=1, max_size=3).map(" | ".join)
    join = st.tuples(st.one_of(NAMES, call), branches).map(lambda it: f"{it[0]} {{ {it[1]} }}")
    repeat = st.tuples(inner, bodies(inner)).map(lambda it: f"repeat({it[0]}) {{ {it[1]} }}")
    named = st.tuples(NAMES, inner, bodies(inner)).map(
        lambda it: f"repeat({it[0]} in {it[1]}) {{ {it[2]} }}"
    )
    then = st.tuples(inner, bodies(inner)).map(lambda it: f"if ({it[0]}) {{ {it[1]} }}")
    otherwise = st.one_of(bodies(inner).map(lambda it: f"{{ {it} }}"), then)
    condition = st.one_of(then, st.tuples(then, otherwise).map(" else ".join))
    stage = st.one_of(NAMES, call, join, repeat, named, condition)
    return st.one_of(stage, st.tuples(NAMES, stage).map(": ".join))


def bodies(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Statements, then a pipeline, each on its own line."""
    binding = st.tuples(NAMES, inner).map(lambda it: f"\n{it[0]} = {it[1]}\n")
    assertion = inner.map(lambda it: f'\nassert ({it}), "it has to hold"\n')
    result = inner.map(lambda it: f"({it})" if it.startswith("-") else it)
    return st.tuples(st.lists(st.one_of(binding, assertion), max_size=2).map("".join), result).map(
        "\n".join
    )


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    start = inner.map(lambda it: f"({it})")
    stages = st.lists(_stages(inner), min_size=1, max_size=5)
    return st.one_of(
        st.tuples(st.one_of(start, _stages(inner)), stages).map(
            lambda it: " -> ".join([it[0], *it[1]])
        ),
        st.tuples(start, start).map(lambda it: f"[{it[0]} .. {it[1]}, 1 .. 4]"),
        st.lists(start, min_size=2, max_size=4).flatmap(
            lambda parts: SIGNS.map(lambda sign: f" {sign} ".join(parts))
        ),
        start.map(lambda it: f"-{it} ^ 2"),
        start.map(lambda it: f"not {it}.net"),
        st.tuples(NAMES, inner).map(lambda it: f"{it[0]}[{it[1]}]"),
        lists(inner, most=9).map(lambda it: f"[{it}]"),
        _stages(inner),
    )


VALUES = st.recursive(LEAVES, _longer, max_leaves=12)
_RENAMES = st.lists(
    st.tuples(STRINGS, st.one_of(STRINGS, st.just("drop")), st.sampled_from(["", ","])).map(
        lambda it: f"{it[0]} => {it[1]}{it[2]}"
    ),
    max_size=3,
).map("\n".join)
_ITEMS = st.one_of(
    st.tuples(NAMES, lists(VALUES)).map(lambda it: f"input {it[0]}: f32[{it[1]}]"),
    st.tuples(NAMES, VALUES, st.sampled_from([" ", ", ", "\n"])).map(
        lambda it: f"input {it[0]}: u8[N, 3] {{ layout = nhwc{it[2]}mean = {it[1]}{it[2]}}}"
    ),
    st.tuples(lists(NAMES, least=0).filter(bool), VALUES).map(" = ".join),
    st.tuples(NAMES, VALUES, NAMES).map(lambda it: f"output {it[0]} = {it[1]}, {it[2]}"),
    st.tuples(STRINGS, _RENAMES).map(lambda it: f"weights {it[0]} {{ {it[1]} }}"),
    st.just("weights he(seed = 0)"),
    st.just('check "golden.npz" (atol = 1e-5, rtol = 1e-4,)'),
)
_DECLARATIONS = st.one_of(
    st.tuples(NAMES, VALUES).map(lambda it: f"param {it[0]} = {it[1]}"),
    st.tuples(NAMES, VALUES, VALUES).map(lambda it: f"param {it[0]} = {it[1]} in {it[2]}"),
    lists(NAMES).filter(lambda it: it[-1] != ",").map(lambda it: f'import {it} from "blocks.cnn"'),
    st.tuples(NAMES, VALUES, bodies(VALUES)).map(
        lambda it: f"block {it[0]}(a, b = {it[1]},) {{ {it[2]} }}"
    ),
    st.tuples(NAMES, st.lists(_ITEMS, max_size=4).map("\n".join)).map(
        lambda it: f"net {it[0]} {{\n{it[1]}\n}}"
    ),
)
PROGRAMS = st.lists(_DECLARATIONS, max_size=3).map(lambda it: "\n".join(["cnn 1", *it]))

# ── the same program in another layout ──────────────────────────────────────────────────────────

SPACES = (" ", "  ", "\t", "\n", " \n\n\n ", "\n\t")
COMMENTS = (" # behind\n", "\n# alone\n", "  #! behind \n\n  # and  alone\n\n")


def relayout(text: str, gaps: list[str]) -> str:
    """The tokens of a program with other gaps, taken in turn; lines that matter stay apart."""
    source = SourceFile("test.cnn", text)
    tokens, _ = read_tokens(language(), source)
    pieces = [str(tokens[0])]
    for number, (before, token) in enumerate(pairwise(tokens)):
        between = text[before.end_pos : token.start_pos]
        gap = gaps[number % len(gaps)]
        starts_item = token.type in ITEM_WORDS and "\n" in gap
        if token.type in ("CALL", "INDEX"):
            gap = "" if before.type == "IN" or not gap else "  "
        elif starts_item and "\n" not in between:
            gap = " "
        elif "\n" in between and "\n" not in gap:
            gap = "\n"
        pieces += [gap, str(token)]
    return "".join(pieces)
