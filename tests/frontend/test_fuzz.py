"""Whatever the text, only UserErrors come out, and every diagnostic can be printed."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.report import report, to_json
from cnnc.base.source import SourceFile
from cnnc.frontend.load import Choices, load_text
from cnnc.frontend.state import Limits
from cnnc.ir.text import format_graph
from cnnc.ops.spec import operators

ROOT = Path(__file__).resolve().parents[2]
SEEDS = tuple(
    path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("examples/*/*.cnn"), *ROOT.glob("tests/errors/*.cnn")])
)
PROGRAM = """cnn 1
param width = 4
block b(c, k = 3, act = relu) { conv(c, k, pad = same, bias = false) -> batchnorm -> act }
block r(c, s = 1) { add { b(c) -> conv(c, 3, pad = same)
  | if (s != 1 or in.channels != c) { conv(c, 1, stride = s) } else { id } } -> relu }
net n {
  input x: f32[N, 3, 8, 8]
  input z: f32[N, 3]
  stem = x -> b(width) -> concat(axis = 1) { in | tanh -> sigmoid }
  body = stem -> repeat(2) { r(width * 2 ^ i) } -> pool(lp(3), 2, stride = [1, 2], ceil = true)
  a, c = [body, (body -> pool(weighted, 3, falloff = gaussian(1.5), pad = 1)) * 2 - 1]
  d = a -> flatten -> head: dense(10) -> dropout(0.5)
  assert d.shape == [N, 10] and c.rank >= 3, "shape"
  output d, p = d -> softmax, q = z / (1 + z) -> reshape([N, -1])
  output s = c -> pool(avg, global, count_pad = false) -> clip(min(0, 1), 6)
  weights he(seed = 3)
}
"""
SMALL = Choices(limits=Limits(steps=300, memory=1 << 24, diagnostics=20))
VOCABULARY = """
cnn param block net input output weights check assert repeat if else in true false and or not
-> => == != <= >= < > + - * / // % ^ = . , : | ( ) [ ] { } 0 1 2 3 16 0.5 1e300
999999999999999999 x n N f32 conv pool max avg lp weighted global same causal relu add mul id
batchnorm dense flatten reshape concat softmax clip axis stride pad "a.npz" drop he seed
"""
TOKENS = tuple(VOCABULARY.split())


def must_be_handled(text: str) -> None:
    """Build the text; print what comes of it."""
    found: tuple[Diagnostic, ...] = ()
    try:
        loaded = load_text(SourceFile("fuzz.cnn", text), ROOT, SMALL)
        assert format_graph(loaded.graph)
    except UserError as error:
        found = error.diagnostics
    assert report(found, colour=True) or not found
    assert all(to_json(each)["message"] for each in found)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Random characters, behind a header as well."""
    must_be_handled(text)
    must_be_handled(f"cnn 1\n{text}")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.sampled_from([" ", "\n", ""]))
def test_any_tokens(tokens: list[str], between: str) -> None:
    """Words of the language in any order, alone and inside a net."""
    text = between.join(tokens)
    must_be_handled(f"cnn 1\n{text}")
    must_be_handled(f"cnn 1\nnet n {{ input x: f32[N, 3, 8, 8]\n  output y = x -> {text} }}")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_programs(data: st.DataObject) -> None:
    """Words of good and bad programs replaced, removed, repeated or swapped."""
    text = data.draw(st.sampled_from([PROGRAM, PROGRAM, PROGRAM, *SEEDS]))
    pieces = re.findall(r"[^\S\n]+|\n|\w+|->|[=<>!]=|[^\w\s]", text)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(pieces) - 1))
        change = data.draw(st.sampled_from(["replace", "replace", "remove", "insert", "swap"]))
        other = data.draw(st.sampled_from([*TOKENS, *pieces]))
        if change == "replace":
            pieces[at] = other
        elif change == "remove":
            del pieces[at]
        elif change == "insert":
            pieces.insert(at, other)
        else:
            with_ = data.draw(st.integers(0, len(pieces) - 1))
            pieces[at], pieces[with_] = pieces[with_], pieces[at]
        if not pieces:
            break
    must_be_handled("".join(pieces))


EXTENTS = st.lists(st.integers(1, 5), min_size=1, max_size=4)
NUMBERS = st.sampled_from(["0", "1", "2", "3", "-1", "1.5", "1e9", "2 ^ 40", "true", "x", "same"])
LISTS = st.lists(NUMBERS, max_size=3).map(lambda items: f"[{', '.join(items)}]")
TABLES = st.lists(LISTS, max_size=3).map(lambda items: f"[{', '.join(items)}]")
CALLS = st.tuples(st.sampled_from(TOKENS[-40:]), NUMBERS).map(lambda parts: "{}({})".format(*parts))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_operators_with_any_arguments(data: st.DataObject) -> None:
    """Every operator, on operands of every rank, with its own keywords and with nonsense."""
    operator = data.draw(st.sampled_from([*operators()]))
    arguments = []
    for attribute in operator.attributes():
        if data.draw(st.booleans()) or attribute.required:
            keyword = st.sampled_from([*attribute.kind.keywords, "3"])
            text = data.draw(st.one_of(keyword, NUMBERS, LISTS, TABLES, CALLS, keyword))
            arguments.append(f"{attribute.name} = {text}")
    shape = ", ".join(map(str, data.draw(EXTENTS)))
    operands = " | ".join(data.draw(st.sampled_from([["x"], ["x", "x"], ["x", "y"]])))
    must_be_handled(
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n  y = x -> id\n"
        f"  output z = {operator.name}({', '.join(arguments)}) {{ {operands} }}\n  weights he\n}}"
    )


def test_the_program_of_the_fuzzer_is_good() -> None:
    """Otherwise its mutations would test little."""
    loaded = load_text(SourceFile("fuzz.cnn", PROGRAM), None, SMALL)
    assert [*loaded.graph.outputs] == ["d", "p", "q", "s"]
