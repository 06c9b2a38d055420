"""Operators computed together, some rows at a time; made by the compiler."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cnnc.base.layout import Layout
from cnnc.base.record import record
from cnnc.ir.graph import Node
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer
from cnnc.ops.attributes import Padding
from cnnc.ops.axes import resolve_axis
from cnnc.ops.bands import BAND, ROWS, SAMPLE, Frame, Part, place
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.fused import UNDERFLOW, Fused, root_operator
from cnnc.ops.pointwise import Pointwise
from cnnc.ops.pool import Pool
from cnnc.ops.repack import Repack
from cnnc.ops.runs import have_gaps, in_runs, new_rows
from cnnc.ops.spec import Operator, Real, Sample
from cnnc.ops.strips import can_have_strips, in_strips

V = TypeVar("V")


@record
class Stage:
    """One operator of several: what the stage before gives is its first operand.

    It has so many `operands` of its own, the first stage all; its result keeps `block` channels
    together in memory. With a `strip`, so many of these blocks are computed row by row with the
    next stage, which reads them channel by channel, and then the next ones: what lies between them
    is a few rows of a few channels. Otherwise all of a band is computed before the next stage.
    """

    op: Operator
    operands: int
    block: int
    strip: int = 0

    def __str__(self) -> str:
        strip = f" by {self.strip}" if self.strip else ""
        return f"{self.operands} @{self.block}{strip} {self.op.label}"


@dataclass(frozen=True)
class Streamed(Operator):
    """Stages one behind the other, `rows` rows of the last result at a time.

    What lies between two stages stays in the caches. Where windows of neighbouring bands overlap it
    is computed again, or, where bands come one after the other in so many `runs`, kept for the next
    band. Operands are those of the first stage, then those that the later ones bring along. Results
    are those of the stages alone, bit for bit.
    """

    stages: tuple[Stage, ...]
    rows: int
    runs: int = 0

    name = "streamed"

    @property
    def label(self) -> str:
        """See Operator."""
        runs = f" in {self.runs}" if self.runs else ""
        return f"streamed[{self.rows}{runs}: {'; '.join(map(str, self.stages))}]"

    def shares(self, operands: Sequence[V]) -> list[tuple[V, ...]]:
        """The operands of each stage, without what the stage before gives."""
        parts, start = [], 0
        for stage in self.stages:
            parts.append(tuple(operands[start : start + stage.operands]))
            start += stage.operands
        return parts

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        return self._types(inputs)[-1]

    def _types(self, inputs: Sequence[TensorType]) -> list[TensorType]:
        """Types of the results of all stages."""
        types: list[TensorType] = []
        for stage, own in zip(self.stages, self.shares(inputs), strict=True):
            types.append(stage.op.infer(*types[-1:], *own))
        return types

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        values: list[Real] = []
        for stage, own in zip(self.stages, self.shares(inputs), strict=True):
            values.append(stage.op.reference(*values[-1:], *own))
        return values[-1]

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: each stage's bound, given that of the one before."""
        values: list[Real] = []
        bounds: list[Real] = []
        shares = zip(self.stages, self.shares(inputs), self.shares(errors), strict=True)
        for stage, own, off in shares:
            operands = (*values[-1:], *own)
            values.append(stage.op.reference(*operands))
            carried = (*(bound + UNDERFLOW for bound in bounds[-1:]), *off)
            bounds.append(stage.op.error(unit, values[-1], operands, carried))
        return bounds[-1]

    def macs(self, out: TensorType, *inputs: TensorType) -> int:
        """See Operator: without what is computed twice."""
        types, total = self._types(inputs), 0
        for number, own in enumerate(self.shares(inputs)):
            flow = types[max(0, number - 1) : number]
            total += self.stages[number].op.macs(types[number], *flow, *own)
        return total

    def mixes_batch(self, *inputs: TensorType) -> bool:
        """See Operator: some stage does."""
        types = self._types(inputs)
        return any(
            self.stages[number].op.mixes_batch(*types[max(0, number - 1) : number], *own)
            for number, own in enumerate(self.shares(inputs))
        )

    def parts(
        self, *inputs: TensorType, plain: bool = False, types: Sequence[TensorType] = ()
    ) -> list[Part]:
        """The stages for one band, of operands of these types; those of results may be known.

        Results lie in blocks and with the zeros around columns that the next stage reads, or, if
        they are `plain`, as row-major arrays, all of a band. ValueError where bands do not
        divide the rows, runs the bands, or strips the channels, or where a stage and the next one
        cannot have strips, or no runs.
        """
        types, shares = types or self._types(inputs), self.shares(inputs)
        bands, rest = divmod(types[-1].shape[ROWS], self.rows)
        if rest:
            raise ValueError(f"bands of {self.rows} rows do not divide {types[-1]}")
        parts: list[Part] = []
        writes = Frame(self.rows, 0, self.rows, types[-1].shape[ROWS])
        for number in reversed(range(len(self.stages))):
            op, result = self.stages[number].op, _cut(types[number], writes.count)
            operands = (*types[max(0, number - 1) : number], *shares[number])
            readers, outside = parts[-1:], None
            for reader in readers:
                outside = _outside(reader.op, writes, bands)
            if not plain:
                result = result.with_layout(self._layout(number, result, readers))
            reads = _frame(op, operands[0], writes, inside=number > 0)
            cut: list[TensorType] = [_cut(operands[0], reads.count)]
            frames: list[Frame | None] = [reads]
            for position, other in enumerate(operands[1:], start=1):
                has_rows = position >= _beside(op) and _has_rows(other, types[number])
                cut.append(_cut(other, writes.count) if has_rows else other)
                frames.append(writes if has_rows else None)
            narrow = _narrowed(op, operands[0])
            parts.append(Part(narrow, tuple(cut), result, tuple(frames), writes, outside, bands))
            writes = new_rows(reads) if self.runs and not plain else reads
        parts = _joined(parts[::-1])
        if plain:
            return parts
        return self._in_runs(parts) if self.runs else self._in_strips(parts)

    def _in_runs(self, parts: list[Part]) -> list[Part]:
        if parts[0].bands % self.runs:
            raise ValueError(f"{parts[0].bands} bands are not {self.runs} runs in {self.label}")
        if have_gaps(parts) or any(stage.strip for stage in self.stages):
            raise ValueError(f"stages with gaps or strips have no runs in {self.label}")
        return in_runs(parts)

    def _in_strips(self, parts: list[Part]) -> list[Part]:
        for number, stage in enumerate(self.stages):
            if stage.strip:
                self._check_strip(number, parts)
                both = in_strips(parts[number], parts[number + 1], stage.strip * stage.block)
                parts[number : number + 2] = both
        return parts

    def _check_strip(self, number: int, parts: Sequence[Part]) -> None:
        stage, pair = self.stages[number], parts[number : number + 2]
        fits = len(pair) > 1 and not self.stages[number + 1].strip
        fits = fits and can_have_strips(pair[0].op, pair[0].result, pair[1].op)
        if not fits or pair[0].result.channels % (stage.strip * stage.block):
            raise ValueError(f"no strips of {stage.strip} blocks in stage {number} of {self.label}")

    def _layout(self, number: int, result: TensorType, readers: Sequence[Part]) -> Layout:
        """Of what a stage gives, with the zeros that the next one reads."""
        layout = Layout.blocked(result.rank, 1, self.stages[number].block)
        for reader in readers:
            layout = layout.with_halo(reader.op.halo(*reader.operands))
        return layout

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator: all stages of a band before the next band."""
        types = [TensorType(each.shape, each.dtype, each.layout) for each in inputs]
        parts, flow = self.parts(*types, plain=True), list[Buffer]()
        with build.loop(SAMPLE, build.out.shape[0]), build.loop(BAND, parts[0].bands):
            for part, own in zip(parts, self.shares(inputs), strict=True):
                given = [
                    Buffer(f"{BAND}.x{at}", kind.shape, kind.dtype, kind.layout)
                    for at, kind in enumerate(part.operands)
                ]
                kind = part.result
                out = Buffer(f"{BAND}.y", kind.shape, kind.dtype, kind.layout)
                inner = KernelBuilder(out, *given)
                part.op.define(inner, *given)
                operands = dict(zip(given, (*flow, *own), strict=True))
                flow = [build.out]
                if part is not parts[-1]:
                    flow = [build.scratch("t", kind.shape, kind.dtype, kind.layout)]
                build.write(place(part, inner.body, operands, (out, flow[0])))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        """Tested through the pass that makes it, on whole graphs."""
        return ()


def stages_of(node: Node) -> list[Node]:
    """The stages of a node as nodes, each an operand of the next one."""
    assert isinstance(node.op, Streamed)
    nodes: list[Node] = []
    for stage, own in zip(node.op.stages, node.op.shares(node.inputs), strict=True):
        operands = (*nodes[-1:], *own)
        kind = stage.op.infer(*(operand.type for operand in operands))
        nodes.append(Node(stage.op, operands, kind, f"{node.name}.{len(nodes)}", node.span))
    return nodes


def can_stream(op: Operator, *inputs: TensorType) -> bool:
    """Whether an operator can be a stage on these operands: it does the same in all rows.

    Operands that its tail brings along have all rows of the result, or none.
    """
    x, root = inputs[0], root_operator(op)
    if len(x.spatial) != len("hw") or x.layout.within:
        return False
    if isinstance(root, Pool):
        fits = bool(root.size) and root.reads_nearest
    elif isinstance(root, Concat):  # one that nothing is fused to can be where its operands are
        fits = isinstance(op, Fused) and resolve_axis(root.axis, x.rank) == 1
    else:
        fits = isinstance(root, Conv | Pointwise)
    if not fits:
        return False
    out = op.infer(*inputs)
    if out.dtype != x.dtype or (works_by_element(op) and not _has_rows(x, out)):
        return False
    return all(
        _has_rows(other, out) or set(other.shape[:1] + other.shape[-2:-1]) <= {1} or other.rank < 2
        for other in inputs[_beside(op) :]
    )


def works_by_element(op: Operator) -> bool:
    """Whether elements come from the same places of all operands, or of one that is joined."""
    root = root_operator(op)
    return isinstance(root, Pointwise | Concat) and not isinstance(root, Repack)


def _beside(op: Operator) -> int:
    """From which operand on they are read in the rows of the result, those of a tail at least."""
    if works_by_element(op):
        return 1
    return op.root_arity if isinstance(op, Fused) else 1_000_000


def _has_rows(operand: TensorType, out: TensorType) -> bool:
    """Whether an operand has all samples and rows of the result."""
    return operand.rank == out.rank and all(operand.shape[at] == out.shape[at] for at in (0, ROWS))


def _frame(op: Operator, x: TensorType, writes: Frame, *, inside: bool) -> Frame:
    """The rows of `x` that an operator reads for those of its result."""
    root, halo = root_operator(op), (0, 0)
    if not inside and not isinstance(root, Pool):  # to which zeros are elements like others
        halo = x.layout.halo_of(ROWS)
    if not isinstance(root, Conv | Pool):
        return replace(writes, rows=x.shape[ROWS], halo=halo)
    window = root.window(x)
    stride, (before, _) = window.stride[0], window.pads[0]
    start = writes.start * stride - before
    count = (writes.count - 1) * stride + window.span(0)
    return Frame(writes.step * stride, start, count, x.shape[ROWS], halo, writes.before * stride)


def _narrowed(op: Operator, x: TensorType) -> Operator:
    """The operator for a band: its rows of padding are there already."""
    if isinstance(op, Fused):
        return replace(op, root=_narrowed(op.root, x))
    if not isinstance(op, Conv | Pool):
        return op
    _, columns = op.window(x).pads
    return replace(op, pad=Padding(explicit=((0, 0), columns)))


def _outside(reader: Operator, writes: Frame, bands: int) -> float | None:
    """What the next stage shall find in rows that a tensor does not have."""
    if not writes.reaches_out(bands):
        return None
    root = root_operator(reader)
    return root.kind.outside if isinstance(root, Pool) else 0.0


def _cut(kind: TensorType, rows: int) -> TensorType:
    """One sample and some rows of a tensor, with the zeros around its columns."""
    layout = kind.layout.alone
    if layout.halo:
        layout = layout.with_halo(((0, 0), (0, 0), (0, 0), *layout.halo[ROWS + 1 :]))
    shape = (1, kind.shape[1], rows, *kind.shape[ROWS + 1 :])
    return TensorType(shape, kind.dtype, layout)


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Each part reads what the one before it gives, as that lies."""
    joined = list(parts[:1])
    for part in parts[1:]:
        x = replace(joined[-1].result, shape=part.operands[0].shape)
        joined.append(replace(part, operands=(x, *part.operands[1:])))
    return joined
