"""Reads a graph from the text that `cnnc.ir.text` prints; attributes in the language's values."""

import re
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Layout, Shape
from cnnc.base.source import SourceFile, Span
from cnnc.ir.graph import Array, Constant, Graph, Initial, Input, Node, Op, OpError, Parameter
from cnnc.ir.types import TensorType
from cnnc.ops.attributes import Choice, Extents, Integer, Symbol, Value, whole
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.fused import Earlier, Extra, Fused, TailStep
from cnnc.ops.movement.blocks import MODES
from cnnc.ops.movement.channel_shuffle import ChannelShuffle
from cnnc.ops.movement.join_phases import JoinPhases
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.repack import Repack
from cnnc.ops.spec import Operator, find_operator
from cnnc.ops.streamed import Stage, Streamed
from cnnc.ops.view import View

T = TypeVar("T")
AnOperator = TypeVar("AnOperator", bound=Operator)
_NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"


class GraphTextError(ValueError):
    """Text that is no graph; names the line and column."""


def parse_graph(
    text: str, arrays: Mapping[str, Array] | None = None, *, name: str = "graph"
) -> Graph:
    """The graph a text describes; raises GraphTextError.

    `arrays` has the values of large constants by digest. Spans of the nodes point into the text,
    as a file called `name`.
    """
    return _Reader(SourceFile(name, text), arrays or {}).graph()


def parse_operator(text: str) -> Operator:
    """The operator a label describes; raises GraphTextError."""
    reader = _Reader(SourceFile("operator", text), {})
    made = reader.operator()
    reader.end_of_line()
    return made


class _Reader:
    """Recursive descent over the text; `_at` is the offset of what comes next."""

    def __init__(self, source: SourceFile, arrays: Mapping[str, Array]) -> None:
        self._source = source
        self._arrays = arrays
        self._at = 0

    def graph(self) -> Graph:
        """The whole text."""
        self._skip_lines()
        name = self._expect(r"graph (\S+)", "a graph")
        fewest = self._take(r" *\(batch=(\d+)\.\.")
        batch = int(self._expect(r" *(?:\(batch=)?(\d+)", "a batch"))
        is_apart = self._take(r"(, apart)") is not None
        self._expect(r"(\))", "the end of the batch")
        self.end_of_line()
        nodes: dict[str, Node] = {}
        while number := self._take(r"%(\d+)"):
            if number in nodes:
                self._fail(f"%{number} is defined twice")
            nodes[number] = self._node(nodes)
        outputs: dict[str, Node] = {}
        while output := self._take(r"output (\S+) = "):
            outputs[output] = self._operand(nodes)
            self.end_of_line()
        if self._at < len(self._source.text):
            self._fail("expected a node or an output")
        inputs = tuple(node for node in nodes.values() if isinstance(node.op, Input))
        some = None if fewest is None else int(fewest)
        return Graph(name, inputs, outputs, batch, some, is_apart)

    def _node(self, nodes: Mapping[str, Node]) -> Node:
        start = self._source.text.rfind("\n", 0, self._at) + 1
        name = self._expect(r" (\S+) = ", "a name")
        leaf = self._take(r"(input|parameter|constant)\b")
        op: Op | None = None if leaf else self.operator()
        elements = self._elements() if leaf == "constant" else None
        values = self._arguments() if leaf == "parameter" else {}
        inputs = () if leaf else self._operands(nodes)
        self._expect(r" *: ", "a type")
        made = self._type()
        span = Span(self._source, start, self._at)
        self.end_of_line()
        if elements is not None:
            op = Constant(self._array(elements, made))
        elif leaf:
            op = Input(name) if leaf == "input" else self._parameter(name, values)
        assert op is not None
        return Node(op, inputs, made, name, span)

    def operator(self) -> Operator:
        """An operator's label; what the compiler makes is not in the language."""
        if self._take(r"fused\[") is not None:
            return self._fused()
        if self._take(r"streamed\[") is not None:
            return self._streamed()
        if self._take(r"view\[") is not None:
            root = self.operator()
            self._expect(r"\]", "`]`")
            return View(root)
        if self._take(r"repack\b") is not None:
            return Repack()
        if self._take(r"join_phases\b") is not None:
            return self._join_phases()
        if self._take(r"channel_shuffle\b") is not None:
            return self._channel_shuffle()
        if self._take(r"conv_map\b") is not None:
            return ConvMap(self._named(Conv))
        name = self._expect(r"([^\W\d]\w*)", "an operator")
        found = find_operator(name)
        if found is None:
            self._fail(f"no operator is called {name}")
        return self._named(found)

    def _named(self, found: type[AnOperator]) -> AnOperator:
        """An operator of the language, from its attributes."""
        name = found.name
        values = self._arguments()
        attributes = {attribute.name: attribute for attribute in found.attributes()}
        for unknown in values.keys() - attributes.keys():
            self._fail(f"{name} has no attribute {unknown}")
        for attribute in attributes.values():
            if attribute.required and attribute.name not in values:
                self._fail(f"{name} needs {attribute.name}")
        try:
            return found.make(values)
        except OpError as error:
            self._fail(f"{error.at}: {error}")

    def _join_phases(self) -> JoinPhases:
        values, names = self._arguments(), ("stride", "before", "out")
        mode = values.pop("mode", Symbol("crd"))
        if values.keys() != set(names):
            self._fail(f"join_phases needs {', '.join(names)}")
        try:
            stride, before, out = (Extents(0).parse(values[name]) for name in names)
            return JoinPhases(stride, before, out, Choice(MODES).parse(mode))
        except OpError as error:
            self._fail(str(error))

    def _channel_shuffle(self) -> ChannelShuffle:
        values, names = self._arguments(), ("groups", "begin", "channels")
        if values.keys() != set(names):
            self._fail(f"channel_shuffle needs {', '.join(names)}")
        limits = zip(names, (2, 0, 1), strict=True)
        try:
            return ChannelShuffle(*(Integer(least).parse(values[name]) for name, least in limits))
        except OpError as error:
            self._fail(str(error))

    def _fused(self) -> Fused:
        arity = int(self._expect(r"(\d+): ", "the root's arity"))
        root = self.operator()
        tail = []
        while self._take(r"; ") is not None:
            op = self.operator()
            if not isinstance(op, Pointwise):
                self._fail(f"{op.name} is not pointwise")
            self._expect(r"\{", "operands")
            tail.append(TailStep(op, self._listed(r"\}", self._source_of_value)))
        self._expect(r"\]", "`]`")
        return Fused(root, arity, tuple(tail))

    def _streamed(self) -> Streamed:
        rows = int(self._expect(r"(\d+)", "the rows of a band"))
        runs = int(self._take(r" in (\d+)") or 0)
        self._expect(r":", "a colon")
        stages = []
        while True:
            operands = int(self._expect(r" (\d+)", "how many operands a stage has"))
            block = int(self._expect(r" @(\d+)", "the channels of a block"))
            strip = int(self._take(r" by (\d+)") or 0)
            self._expect(r" ", "a space")
            stages.append(Stage(self.operator(), operands, block, strip))
            if self._take(r";") is None:
                break
        self._expect(r"\]", "`]`")
        return Streamed(tuple(stages), rows, runs)

    def _source_of_value(self) -> Earlier | Extra:
        mark = self._expect(r"([%$])", "% or $")
        number = int(self._expect(r"(\d+)", "a number"))
        return Earlier(number) if mark == "%" else Extra(number)

    def _arguments(self) -> dict[str, Value]:
        if self._take(r"\(") is None:
            return {}
        return dict(self._listed(r"\)", self._argument))

    def _argument(self) -> tuple[str, Value]:
        return self._expect(r"(\w+)=", "an attribute"), self._value()

    def _value(self) -> Value:
        if (number := self._take(f"({_NUMBER})")) is not None:
            return float(number) if re.search(r"[.eE]", number) else int(number)
        if (text := self._take(r'"([^"\n]*)"')) is not None:
            return text
        if self._take(r"\[") is not None:
            return self._listed(r"\]", self._value)
        name = self._expect(r"([^\W\d]\w*)", "a value")
        if name in ("true", "false"):
            return name == "true"
        return Symbol(name, self._listed(r"\)", self._value) if self._take(r"\(") else ())

    def _operands(self, nodes: Mapping[str, Node]) -> tuple[Node, ...]:
        self._take(" ")
        return () if self._peek(":") else self._listed(None, lambda: self._operand(nodes))

    def _operand(self, nodes: Mapping[str, Node]) -> Node:
        number = self._expect(r"%(\d+)", "a node")
        if number not in nodes:
            self._fail(f"%{number} is not defined above")
        return nodes[number]

    def _type(self) -> TensorType:
        dtypes = "|".join(dtype.value for dtype in DType)
        dtype = DType(self._expect(f"({dtypes})", "an element type"))
        self._expect(r"\[", "a shape")
        shape = self._listed(r"\]", lambda: int(self._expect(r"(\d+)", "an extent")))
        layout = self._take(r"@(\S+)")
        try:
            return TensorType(shape, dtype, Layout.parse(layout) if layout else _plain(shape))
        except ValueError as error:
            self._fail(str(error))

    def _elements(self) -> tuple[str, ...] | str:
        if (digest := self._take(r" #([0-9a-f]+)")) is not None:
            return digest
        self._expect(r" \[", "elements or a digest")
        return self._listed(r"\]", lambda: self._expect(r"([^\s,\]]+)", "an element"))

    def _array(self, elements: tuple[str, ...] | str, made: TensorType) -> Array:
        if isinstance(elements, str):
            if elements not in self._arrays:
                self._fail(f"the value of constant #{elements} is not given")
            return self._arrays[elements]
        numpy = made.dtype.numpy
        try:
            if made.dtype is DType.BOOL:
                flat = np.array([{"true": True, "false": False}[each] for each in elements], numpy)
            else:
                convert = float if made.dtype.is_float else int
                flat = np.array([convert(each) for each in elements], numpy)
            return flat.reshape(made.shape)
        except (ValueError, KeyError, OverflowError) as error:
            self._fail(f"invalid elements for {made}: {error}")

    def _parameter(self, path: str, values: Mapping[str, Value]) -> Parameter:
        kind, fans = values.get("initial"), [whole(values.get(n, 1)) for n in ("fan_in", "fan_out")]
        if not isinstance(kind, Symbol) or fans[0] is None or fans[1] is None:
            self._fail("expected parameter(initial=KIND, fan_in=N, fan_out=N)")
        return Parameter(path, Initial(kind.name, fans[0], fans[1]))

    def _listed(self, end: str | None, item: Callable[[], T]) -> tuple[T, ...]:
        """Items with commas between them, up to `end`, or while commas follow."""
        items: list[T] = []
        if end is not None and self._take(end) is not None:
            return ()
        while True:
            items.append(item())
            if self._take(r", *") is None:
                break
        if end is not None:
            self._expect(end, "`,` or the end of the list")
        return tuple(items)

    def end_of_line(self) -> None:
        """Nothing more on this line but a comment; then to the next line with content."""
        self._expect(r" *(?:#[^\n]*)?(?:\n|$)", "the end of the line")
        self._skip_lines()

    def _skip_lines(self) -> None:
        self._take(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*(?:#[^\n]*$)?")

    def _peek(self, pattern: str) -> bool:
        return re.compile(pattern).match(self._source.text, self._at) is not None

    def _take(self, pattern: str) -> str | None:
        """Step over the pattern if it comes next; its first group, or all of it."""
        match = re.compile(pattern).match(self._source.text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[1] if match.re.groups else match[0]

    def _expect(self, pattern: str, what: str) -> str:
        taken = self._take(pattern)
        if taken is None:
            self._fail(f"expected {what}")
        return taken

    def _fail(self, why: str) -> NoReturn:
        place = Span(self._source, self._at, self._at)
        raise GraphTextError(f"{place}: {why}")


def _plain(shape: Shape) -> Layout:
    return Layout.plain(len(shape))
