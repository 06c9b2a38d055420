"""Text → AST: shapes of trees, spans, and the two rules about lines."""

import pytest

from cnnc.base.source import SourceFile
from cnnc.frontend import ast
from cnnc.frontend.grammar import language
from cnnc.frontend.parse import parse, parse_expression


def expression(text: str) -> ast.Expression:
    """One expression."""
    return parse_expression(SourceFile("test", text))


def outline(it: ast.Expression) -> str:
    """The tree with all parentheses."""
    match it:
        case ast.Number() | ast.Truth():
            return str(it.value).lower()
        case ast.Reference():
            return it.name.text
        case ast.Here():
            return "in"
        case ast.Member():
            return f"{outline(it.owner)}.{it.name.text}"
        case ast.Index():
            return f"{outline(it.owner)}[{outline(it.position)}]"
        case ast.Sequence():
            return f"[{', '.join(map(outline, it.items))}]"
        case ast.Pipe():
            return f"({' -> '.join(map(outline, (it.start, *it.stages)))})"
        case ast.Labelled():
            return f"{it.label.text}: {outline(it.stage)}"
        case ast.Call():
            return outline_call(it)
    return outline_operation(it)


def outline_operation(it: ast.Expression) -> str:
    """Operators with their operands."""
    match it:
        case ast.Sign():
            return f"({it.sign.text}{outline(it.operand)})"
        case ast.Not():
            return f"(not {outline(it.operand)})"
        case ast.Logic():
            return f"({f' {it.word} '.join(map(outline, it.terms))})"
        case ast.Arithmetic() | ast.Comparison():
            rest = "".join(f" {sign.text} {outline(each)}" for sign, each in it.rest)
            return f"({outline(it.first)}{rest})"
    raise AssertionError(f"{it} is not in these tests")


def outline_call(it: ast.Call) -> str:
    """A call with its arguments and branches."""
    inside = ", ".join(
        (f"{each.name.text} = " if each.name else "") + outline(each.value) for each in it.arguments
    )
    branches = f"{{{' | '.join(map(outline, it.branches))}}}" if it.branches else ""
    return f"{it.name.text}({inside}){branches}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1 + 2 * 3 - 4", "(1 + (2 * 3) - 4)"),
        ("-2 ^ 2", "(-(2 ^ 2))"),
        ("2 ^ -1", "(2 ^ (-1))"),
        ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
        ("7 // 2 % 2 / 3", "(7 // 2 % 2 / 3)"),
        ("a or b and not c == 1", "(a or (b and (not (c == 1))))"),
        ("1 <= k < 5", "(1 <= k < 5)"),
        ("in.shape[0].x", "in.shape[0].x"),
        ("(a + b) * c", "((a + b) * c)"),
        ("[1, [2, 3],]", "[1, [2, 3]]"),
        ("[]", "[]"),
        ("x -> conv(3, stride = 2,) -> relu", "(x -> conv(3, stride = 2) -> relu)"),
        ("x -> head: dense(10)", "(x -> head: dense(10))"),
        ("add { a | b -> relu }", "add(){a | (b -> relu)}"),
        ("concat(axis = 1) { in | id }", "concat(axis = 1){in | id}"),
        ("(x -> relu) * y", "((x -> relu) * y)"),
        ("f(input = 1, weights = [2])", "f(input = 1, weights = [2])"),
        ("a + x -> relu", "((a + x) -> relu)"),
        ("f()", "f()"),
        ("true and x.net", "(true and x.net)"),
    ],
)
def test_expressions(text: str, tree: str) -> None:
    """Precedence, associativity, trailing commas, words of the language as argument names."""
    assert outline(expression(text)) == tree


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("0.5", 0.5), ("1e-5", 1e-5), ("1E3", 1000.0), ("007", 7)]
)
def test_numbers(text: str, value: float) -> None:
    """Integers stay integers."""
    number = expression(text)
    assert isinstance(number, ast.Number)
    assert number.value == value
    assert type(number.value) is type(value)


def test_declarations() -> None:
    """Every kind of item and statement arrives, in order."""
    program = parse(
        SourceFile(
            "test.cnn",
            """
cnn 1  # the version
param width = 16
block b(c, k = 3) { h = conv(c, k)
  assert c > 0, "positive"
  h -> relu }
block plain { relu }
net n {
  input x: f32[N, 3, 8, 8]
  a, b = x -> two
  output y = a -> b(3), b
  assert y.rank == 4
  weights "w.npz" { "a.*" => "b.*", "c" => drop }
  check "g.npz" (atol = 1e-5)
}
net m { input x: f32[N, 3]
  output y = x -> repeat(i in 3) { relu } -> if (true) { id } else if (false) { relu } else { id }
  weights he(seed = 1) }
""",
        )
    )
    assert program.version == 1
    assert [param.name.text for param in program.params] == ["width"]
    assert [block.name.text for block in program.blocks] == ["b", "plain"]
    block = program.blocks[0]
    assert [formal.name.text for formal in block.formals] == ["c", "k"]
    assert [type(each) for each in block.body.statements] == [ast.Binding, ast.Assertion]
    assert program.blocks[1].formals == ()
    n, m = program.nets
    kinds = [ast.Input, ast.Binding, ast.Output, ast.Assertion, ast.WeightsFile, ast.Check]
    assert [type(item) for item in n.items] == kinds
    clause = n.items[4]
    assert isinstance(clause, ast.WeightsFile)
    assert isinstance(clause.renames[0].target, ast.Text)
    assert isinstance(clause.renames[1].target, ast.Name)
    output = m.items[1]
    assert isinstance(output, ast.Output)
    pipe = output.items[0].value
    assert isinstance(pipe, ast.Pipe)
    repeat, condition = pipe.stages
    assert isinstance(repeat, ast.Repeat)
    assert repeat.index is not None
    assert isinstance(condition, ast.Condition)
    assert isinstance(condition.otherwise, ast.Condition)


def test_spans_are_exact() -> None:
    """A span covers the text of its node, whatever comments and spaces stand around."""
    it = expression("x  -> conv( 3 , stride = [1,\n 2] ) # end\n -> head : relu")
    assert isinstance(it, ast.Pipe)
    conv, head = it.stages
    assert it.span.excerpt.startswith("x  -> conv(")
    assert conv.span.excerpt == "conv( 3 , stride = [1,\n 2] )"
    assert head.span.excerpt == "head : relu"
    assert isinstance(conv, ast.Call)
    assert conv.arguments[1].span.excerpt == "stride = [1,\n 2]"
    assert str(conv.arguments[1].span) == "test:1:17"
    power = expression("2  ^  3")
    assert isinstance(power, ast.Arithmetic)
    assert power.rest[0][0].span.excerpt == "^"


def test_a_parenthesis_on_a_new_line_starts_a_pipeline() -> None:
    """`relu` above is not called by the line below."""
    program = parse(
        SourceFile("test.cnn", "cnn 1\nblock b(a) {\n  h = a -> relu\n  (h + in) -> relu\n}\n")
    )
    body = program.blocks[0].body
    assert outline(body.statements[0].value) == "(a -> relu)"  # type: ignore[union-attr]
    assert outline(body.result) == "((h + in) -> relu)"


def test_long_chains_are_flat() -> None:
    """Ten thousand operands or stages nest no deeper than two."""
    chain = expression("+".join(["1"] * 10_000))
    assert isinstance(chain, ast.Arithmetic)
    assert len(chain.rest) == 9_999
    pipe = expression("x" + " -> relu" * 10_000)
    assert isinstance(pipe, ast.Pipe)
    assert len(pipe.stages) == 10_000


def test_items_parse_as_the_whole_grammar_says() -> None:
    """Splitting a file into items accepts what the grammar's `program` accepts."""
    text = "cnn 1\nparam a = 1\nblock b { relu }\nnet n { input x: f32 [1, 2]\noutput x }\n"
    assert len(parse(SourceFile("test.cnn", text)).nets) == 1
    names = {rule.origin.name for rule in language().rules}
    assert {"program", "header", "item", "pipe"} <= names
