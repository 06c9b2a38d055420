"""The AST: what the grammar says, frozen, each node with its span."""

from cnnc.base.record import record
from cnnc.base.source import Span


@record
class Name:
    """A word and where it stands."""

    text: str
    span: Span


# ── expressions and pipelines ───────────────────────────────────────────────────────────────────


@record
class Number:
    """A literal: an integer if written without point and exponent."""

    value: int | float
    span: Span


@record
class Text:
    """A string literal, without its quotes."""

    value: str
    span: Span


@record
class Truth:
    """`true` or `false`."""

    value: bool
    span: Span


@record
class Here:
    """`in`: what flows into the surrounding block, branch or stage."""

    span: Span


@record
class Reference:
    """A bare name: a value, a choice such as `same`, or an operator or block without arguments."""

    name: Name
    span: Span


@record
class Sequence:
    """`[a, b, c]`."""

    items: tuple["Expression", ...]
    span: Span


@record
class Not:
    """`not a`."""

    operand: "Expression"
    span: Span


@record
class Sign:
    """`-a` or `+a`."""

    sign: Name
    operand: "Expression"
    span: Span


@record
class Logic:
    """`a and b and c`, or the same with `or`."""

    word: str
    terms: tuple["Expression", ...]
    span: Span


@record
class Arithmetic:
    """A chain of `+ -`, or of `* / // %`, or one `^`: first, then (operator, operand) in order."""

    first: "Expression"
    rest: tuple[tuple[Name, "Expression"], ...]
    span: Span


@record
class Comparison:
    """`a <= b < c`: every neighbouring pair must hold."""

    first: "Expression"
    rest: tuple[tuple[Name, "Expression"], ...]
    span: Span


@record
class Range:
    """`low..high`, both ends included."""

    low: "Expression"
    high: "Expression"
    span: Span


@record
class Member:
    """`a.name`."""

    owner: "Expression"
    name: Name
    span: Span


@record
class Index:
    """`a[i]`."""

    owner: "Expression"
    position: "Expression"
    span: Span


@record
class Argument:
    """`value` or `name = value` in a call."""

    name: Name | None
    value: "Expression"
    span: Span


@record
class Call:
    """`name(arguments)`, `name { branch | branch }`, or both."""

    name: Name
    arguments: tuple[Argument, ...]
    branches: tuple["Expression", ...]
    span: Span


@record
class Body:
    """Statements, then the pipeline that is the value."""

    statements: tuple["Binding | Assertion", ...]
    result: "Expression"
    span: Span


@record
class Repeat:
    """`repeat(count) { body }`; `index` is the counter's name if the text gives one."""

    index: Name | None
    count: "Expression"
    body: Body
    span: Span


@record
class Condition:
    """`if (test) { then } else { otherwise }`."""

    test: "Expression"
    then: Body
    otherwise: "Body | Condition | None"
    span: Span


@record
class Labelled:
    """`label: stage`."""

    label: Name
    stage: "Stage"
    span: Span


@record
class Pipe:
    """`start -> stage -> stage`, with at least one stage after the start."""

    start: "Expression"
    stages: tuple["Stage", ...]
    span: Span


Stage = Reference | Call | Repeat | Condition | Labelled
Expression = (
    Number
    | Text
    | Truth
    | Here
    | Sequence
    | Not
    | Sign
    | Logic
    | Arithmetic
    | Comparison
    | Range
    | Member
    | Index
    | Pipe
    | Stage
)

# ── statements ──────────────────────────────────────────────────────────────────────────────────


@record
class Binding:
    """`name = pipe`, or `a, b = pipe` to take a list apart."""

    names: tuple[Name, ...]
    value: Expression
    span: Span


@record
class Assertion:
    """`assert condition` with an optional message."""

    condition: Expression
    message: Text | None
    span: Span


@record
class Input:
    """`input name: u8[N, 32, 32, 3] { clauses }`: arguments of `preprocess`; None: no braces."""

    name: Name
    dtype: Name
    shape: tuple[Expression, ...]
    clauses: tuple[Argument, ...] | None
    span: Span


@record
class OutputItem:
    """One name of an `output` statement, with its pipeline if it is not bound before."""

    name: Name
    value: Expression | None
    span: Span


@record
class Output:
    """`output a, b = pipe`."""

    items: tuple[OutputItem, ...]
    span: Span


@record
class Rename:
    """`"in the file" => "in the net"`; a target of `drop` ignores what matches."""

    pattern: Text
    target: Text | Name
    span: Span


@record
class WeightsFile:
    """`weights "file" { renames }`."""

    path: Text
    renames: tuple[Rename, ...]
    span: Span


@record
class WeightsInitial:
    """`weights he(seed = 0)`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


@record
class Check:
    """`check "file.npz" (atol = 1e-5)`."""

    path: Text
    arguments: tuple[Argument, ...]
    span: Span


NetItem = Input | Binding | Assertion | Output | WeightsFile | WeightsInitial | Check

# ── declarations ────────────────────────────────────────────────────────────────────────────────


@record
class Imported:
    """A block of another file, and the name it has here if that is another."""

    name: Name
    alias: Name | None
    span: Span

    @property
    def local(self) -> Name:
        """The name this file calls the block by."""
        return self.alias or self.name


@record
class Import:
    """`import block, block as name from "file"`."""

    items: tuple[Imported, ...]
    path: Text
    span: Span


@record
class Param:
    """`param name = value`; with `in choices`, only these."""

    name: Name
    value: Expression
    choices: Expression | None
    span: Span


@record
class Formal:
    """A parameter of a block, with its default if it has one."""

    name: Name
    default: Expression | None
    span: Span


@record
class Block:
    """`block name(formals) { body }`."""

    name: Name
    formals: tuple[Formal, ...]
    body: Body
    span: Span


@record
class Net:
    """`net name { items }`."""

    name: Name
    items: tuple[NetItem, ...]
    span: Span


@record
class Program:
    """A whole file: language version, then declarations by kind, each in the order written."""

    version: int
    imports: tuple[Import, ...]
    params: tuple[Param, ...]
    blocks: tuple[Block, ...]
    nets: tuple[Net, ...]
    span: Span


Node = (
    Expression
    | Argument
    | Body
    | NetItem
    | OutputItem
    | Rename
    | Import
    | Imported
    | Param
    | Formal
    | Block
    | Net
    | Program
)
"""Everything that has parts and a span."""
