"""A program → text of the language, in its canonical layout."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from cnnc.base.record import record
from cnnc.base.source import SourceFile
from cnnc.frontend.formatting.format import format_source
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.reroll.attributes import default_attributes
from cnnc.onnx.reroll.blocks import Program
from cnnc.onnx.reroll.clauses import Clause
from cnnc.onnx.reroll.tree import (
    Block,
    Branch,
    Call,
    Chain,
    Formula,
    Hole,
    Item,
    Join,
    Number,
    Ref,
    Repeat,
    Use,
    labels,
)
from cnnc.ops.attributes import Value, format_value
from cnnc.ops.spec import find


@record
class Weights:
    """The weights file beside the text, and what its names become in the net; None is dropped."""

    file: str
    rules: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        rules = "\n".join(
            f'"{name}" => ' + ("drop" if path is None else f'"{path}"') for name, path in self.rules
        )
        return f'weights "{self.file}"' + (f" {{\n{rules}\n}}" if rules else "")


def write_text(
    net: FlatNet,
    program: Program,
    weights: Weights | None,
    clauses: Mapping[str, Clause] | None = None,
) -> str:
    """The whole file in its canonical layout; no weights if the net needs none.

    `clauses` say how inputs become what the net sees.
    """
    clauses = clauses or {}
    lines = ["cnn 1", ""]
    if net.batch != 1:
        lines += [f"param N = {net.batch}"]
    printer = _Printer({block.name: block for block in program.blocks})
    lines += [printer.block(block) for block in program.blocks]
    lines += [f"net {net.name} {{"]
    for each in net.inputs:
        end = clauses[each.name].given if each.name in clauses else each
        shape = ", ".join(["N", *map(str, end.shape[1:])])
        clause = f" {clauses[each.name]}" if each.name in clauses else ""
        lines += [f"input {end.name}: {end.dtype}[{shape}]{clause}"]
    taken = [end.name for end in net.inputs] + [each.name for each in program.statements]
    scope = _scope([each.value.chain for each in program.statements], taken)
    for made in program.statements:
        value = printer.branch(made.value, scope)
        is_same = isinstance(made.value.head, Ref) and value == made.name
        keyword = "output " if made.is_output else ""
        lines += [f"{keyword}{made.name}" if is_same else f"{keyword}{made.name} = {value}"]
    if weights is not None:
        lines += [str(weights)]
    return format_source(SourceFile(f"{net.name}.cnn", "\n".join([*lines, "}"]) + "\n"))


Labels = frozenset[str]


def _scope(chains: Sequence[Chain], taken: Sequence[str]) -> Labels:
    """The labels that one scope can have: a name once, and no binding's or parameter's."""
    counts = Counter(taken)
    for chain in chains:
        counts.update(name for name in _own(chain) if name is not None)
    alone = (name for name, count in counts.items() if count == 1 and "." not in name)
    return frozenset(alone) - {*taken}


def _own(chain: Chain) -> Iterator[str | None]:
    """Labels of a chain outside its repetitions, which are scopes of their own."""
    for item in chain:
        match item:
            case Repeat():
                continue
            case Join():
                for branch in item.branches:
                    if isinstance(branch.head, Call):
                        yield branch.head.label
                    yield from _own(branch.chain)
            case _:
                yield from labels((item,))


class _Printer:
    """Items as text; every scope gives the labels it has room for."""

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        self.blocks = blocks

    def block(self, block: Block) -> str:
        """A block's definition."""
        usual = dict(block.defaults)
        parameters = ", ".join(
            f"{name} = {_text(usual[name])}" if name in usual else name for name in block.parameters
        )
        scope = _scope([block.body], block.parameters)
        head = f"block {block.name}({parameters})" if parameters else f"block {block.name}"
        return f"{head} {{ {self.chain(block.body, scope)} }}"

    def chain(self, chain: Chain, scope: Labels) -> str:
        """A pipeline."""
        return " -> ".join(self.item(item, scope) for item in chain)

    def branch(self, branch: Branch, scope: Labels) -> str:
        """A pipeline with what it begins with."""
        match branch.head:
            case Ref(name=name):
                parts = [name]
            case Number(value=value):
                parts = [_text(value)]
            case Call() as call:
                parts = [self.item(call, scope)]
            case None:
                parts = []
        parts += [self.item(item, scope) for item in branch.chain]
        return " -> ".join(parts) or "id"

    def item(self, item: Item, scope: Labels) -> str:
        """One stage."""
        match item:
            case Call():
                label = f"{item.label}: " if item.label in scope else ""
                return f"{label}{_called(item.op, item.attributes, _defaults(item.op))}"
            case Use():
                usual = dict(self.blocks[item.block].defaults)
                return _called(item.block, item.arguments, usual)
            case Repeat():
                inner = _scope([item.body], [])
                return f"repeat({_text(item.count)}) {{ {self.chain(item.body, inner)} }}"
            case Join():
                return self._join(item, scope)

    def _join(self, item: Join, scope: Labels) -> str:
        match item.branches:
            case (Branch((), None), Branch((), Number(value=value))) if not item.attributes:
                return f"{item.op}({_text(value)})"
        opening = _called(item.op, item.attributes, _defaults(item.op))
        branches = " | ".join(self.branch(branch, scope) for branch in item.branches)
        return f"{opening} {{ {branches} }}"


@cache
def _defaults(op: str) -> Mapping[str, Value]:
    kind = find(op)
    assert kind is not None
    return default_attributes(kind)


def _called(name: str, arguments: Sequence[tuple[str, Hole]], usual: Mapping[str, Hole]) -> str:
    """A call: what must be given in order, the rest by name where it is not as usual."""
    is_alone = len(arguments) == 1 and not _needs_name(*arguments[0])
    if is_alone and arguments[0][1] != usual.get(arguments[0][0]):
        usual = {}  # what else could it be
    given = [_text(value) for key, value in arguments if key not in usual]
    given += [
        f"{key} = {_text(value)}"
        for key, value in arguments
        if key in usual and (type(value), value) != (type(usual[key]), usual[key])
    ]
    return f"{name}({', '.join(given)})" if given else name


def _needs_name(key: str, value: Hole) -> bool:
    """Whether nobody would know what a value by itself is: `prelu(true)`, `batchnorm(0.0)`."""
    return isinstance(value, bool) or key == "eps"


def _text(value: Hole) -> str:
    return value.text if isinstance(value, Formula) else format_value(value)
