"""What one build shares: diagnostics, limits, instance paths, and the making of nodes."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.errors import Diagnostic
from cnnc.base.record import record
from cnnc.base.source import Span
from cnnc.frontend import ast
from cnnc.frontend.modules import Modules
from cnnc.frontend.scope import Paths
from cnnc.frontend.values import UNKNOWN, Unknown, Value, Word
from cnnc.ir.graph import Constant, Node, Op
from cnnc.ir.types import TensorType

_SHOWN_CALLERS = 3


@record
class Limits:
    """How far a net may expand: operators and repetitions, blocks in blocks, bytes, messages.

    `memory` bounds the sum of all tensors, parameters and results alike, before any is reused;
    `items` that of what all lists hold, counting lists in lists wherever they stand.
    """

    steps: int = 100_000
    items: int = 200_000
    block_depth: int = 40
    memory: int = 16 << 30
    diagnostics: int = 100


class StopBuildError(Exception):
    """A limit is passed and reported: nothing more can be learned from this build."""


class BuildState:
    """Mutable state of one build; every node of the graph is made here."""

    def __init__(self, modules: Modules, limits: Limits) -> None:
        self.modules = modules
        self.limits = limits
        self.paths = Paths()
        self.diagnostics: list[Diagnostic] = []
        self.callers: list[tuple[ast.Block, Span]] = []
        self._steps = 0
        self._items = 0
        self._bytes = 0

    def find_block(self, name: str, place: Span) -> ast.Block | Unknown | None:
        """The block that a name in the text at `place` means; UNKNOWN if its import failed."""
        return self.modules.of(place.source).blocks.get(name)

    def report(self, diagnostic: Diagnostic) -> Unknown:
        """Keep the diagnostic and give UNKNOWN.

        A block's mistake shows up in each of its instances; it is kept for the first.
        """
        for each in self.diagnostics:
            is_same = each.message == diagnostic.message or self.callers
            if is_same and (each.code, each.span) == (diagnostic.code, diagnostic.span):
                return UNKNOWN
        callers = tuple(_place_of(*each) for each in reversed(self.callers[-_SHOWN_CALLERS:]))
        self.diagnostics.append(replace(diagnostic, notes=(*diagnostic.notes, *callers)))
        if len(self.diagnostics) >= self.limits.diagnostics:
            raise StopBuildError
        return UNKNOWN

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        notes: Sequence[str | None] = (),
        help: str | None = None,
    ) -> Unknown:
        """Report an error; notes that are None are left out."""
        kept = tuple(note for note in notes if note)
        return self.report(Diagnostic(code, message, span, label, kept, help))

    def add_note(self, first: int, note: str) -> None:
        """Add a note to all diagnostics from the one of this number on."""
        self.diagnostics[first:] = [
            replace(each, notes=(*each.notes, note)) for each in self.diagnostics[first:]
        ]

    def spend(self, span: Span) -> None:
        """Count one operator, block instance or repetition."""
        self._steps += 1
        if self._steps > self.limits.steps:
            self.error(
                "E0503",
                f"the net expands to more than {self.limits.steps} operators and repetitions",
                span,
                "reached here",
                help="lower the counts of `repeat`",
            )
            raise StopBuildError

    def hold(self, items: Sequence[Value], span: Span) -> None:
        """Count what a list or the arguments of a word hold: names make doubling them easy."""
        stack = [*items]
        while stack and self._items <= self.limits.items:
            value = stack.pop()
            self._items += 1
            if isinstance(value, tuple):
                stack += value
            elif isinstance(value, Word):
                stack += [each.value for each in value.arguments]
        if self._items > self.limits.items:
            message = f"the lists of the net hold more than {self.limits.items} items"
            self.error("E0503", message, span, "reached here")
            raise StopBuildError

    def node(self, op: Op, inputs: Sequence[Node], type: TensorType, name: str, span: Span) -> Node:
        """A node of the graph, once its memory is accounted for."""
        self.spend(span)
        self._bytes += type.bytes
        if self._bytes > self.limits.memory:
            self.error(
                "E0504",
                f"the net's tensors need more than {format_bytes(self.limits.memory)}",
                span,
                f"`{name}` is {type}: {format_bytes(type.bytes)}",
                notes=[f"with this one they come to {format_bytes(self._bytes)}"],
                help="check the extents",
            )
            raise StopBuildError
        return Node(op, tuple(inputs), type, name, span)

    def scalar(
        self, value: int | float, prefix: str, span: Span, dtype: DType = DType.F32
    ) -> Node | Unknown:
        """A number as a tensor that broadcasts, of a type of floating point."""
        if abs(value) > float(np.finfo(dtype.numpy.str).max) or math.isnan(value):
            return self.error("E0505", f"this number is too large for {dtype}", span)
        array = np.full((1,), value, dtype.numpy)
        type = TensorType.plain((1,), dtype)
        return self.node(Constant(array), (), type, self.paths.claim_free(prefix, "number"), span)


def _place_of(block: ast.Block, caller: Span) -> str:
    """Where a block is used, with the file if that is another than the block's."""
    if block.span.source == caller.source:
        return f"in `{block.name.text}`, used at line {caller.line}, column {caller.column}"
    return f"in `{block.name.text}`, used from {caller}"


def format_bytes(count: int) -> str:
    """A number of bytes for people: 1.5 GiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} PiB"
