"""Random networks as texts of the language, so that what fails is a file one can read.

Operators and their attributes come from the samples the operators' own classes give, so every
operator takes part without being named here.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st

import cnnc.ops  # noqa: F401
from cnnc.base.dtype import DType
from cnnc.ir.graph import OpError
from cnnc.ir.types import TensorType
from cnnc.ops.spec import Composite, Named, Operator, Sample, operators

MOST_ELEMENTS = 600
MOST_MACS = 4000
"""Of one operator: the interpreter runs every one of them in Python."""
OPERATORS: tuple[tuple[str, tuple[Sample, ...]], ...] = tuple(
    (each.name, samples) for each in operators() if (samples := tuple(each.samples()))
)


@dataclass(slots=True)
class _Writer:
    """Adds statements one by one; a statement that fits nothing becomes none."""

    draw: st.DrawFn
    batch: int
    lines: list[str] = field(default_factory=list)
    values: dict[str, TensorType] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def input(self, type: TensorType) -> str:
        """A network input."""
        name = f"x{len(self.lines)}"
        extents = ", ".join(["N", *map(str, type.shape[1:])])
        self.lines.append(f"input {name}: {type.dtype}[{extents}]")
        self._add(name, type)
        return name

    def _add(self, name: str, type: TensorType) -> None:
        self.values[name] = type
        self.unread.append(name)

    def statement(self) -> None:
        """An operator with the attributes of a sample, on values that are there or new inputs."""
        _, samples = self.draw(st.sampled_from(OPERATORS))
        sample = self.draw(st.sampled_from(samples))
        names = list(self.values)
        recent = names[-4:]
        operands = [self.draw(st.sampled_from(recent)) for _ in sample.shapes]
        if not self._apply(sample.op, operands):
            types = self._operand_types(sample)
            if types and self._results(sample.op, types):
                self._apply(sample.op, [self.input(type) for type in types])

    def _operand_types(self, sample: Sample) -> list[TensorType]:
        """The sample's operands for this batch; none where they do not all start with one."""
        if any(type.rank < 2 for type in sample.types):
            return []
        return [type.with_shape((self.batch, *type.shape[1:])) for type in sample.types]

    def _results(self, op: Named, types: list[TensorType]) -> list[TensorType]:
        """Types of the results; empty where the operands do not fit or the work is too much."""
        try:
            several = op.expand(*types) if isinstance(op, Composite) else (op,)
            results = []
            for each in several:
                assert isinstance(each, Operator)
                owned = [spec.type for spec in each.parameters(*types)]
                results.append(each.infer(*types, *owned))
                if each.macs(results[-1], *types, *owned) > MOST_MACS:
                    return []
        except OpError:
            return []
        return [] if any(made.elements > MOST_ELEMENTS for made in (*types, *results)) else results

    def _apply(self, op: Named, operands: list[str]) -> bool:
        results = self._results(op, [self.values[name] for name in operands])
        if not results:
            return False
        names = [f"t{len(self.lines)}{letter}" for letter in "abcdefgh"[: len(results)]]
        call = f"{op.label} {{ {' | '.join(operands)} }}"
        if len(operands) == 1:
            call = f"{operands[0]} -> {op.label}"
        if isinstance(op, Composite) and len(results) == 1:
            call = f"({call})[0]"
        self.lines.append(f"{', '.join(names)} = {call}")
        self.unread = [name for name in self.unread if name not in operands]
        for name, made in zip(names, results, strict=True):
            self._add(name, made)
        return True


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A network of a few operators with branches; its outputs are what nothing else reads."""
    batch = draw(st.sampled_from((1, 1, 2, 3)))
    writer = _Writer(draw, batch)
    rank = draw(st.integers(0, 3))
    channels = draw(st.sampled_from((1, 2, 3, 4, 16, 17)))
    extents = [draw(st.integers(1, 7 if rank < 3 else 4)) for _ in range(rank)]
    writer.input(TensorType.plain((batch, channels, *extents), DType.F32))
    for _ in range(draw(st.integers(1, 6))):
        writer.statement()
    inputs = [line for line in writer.lines if line.startswith("input ")]
    others = [line for line in writer.lines if not line.startswith("input ")]
    body = [*inputs, *others, f"output {', '.join(writer.unread)}", "weights he(seed = 1)"]
    text = "".join(f"  {line}\n" for line in body)
    return f"cnn 1\n\nparam N = {batch}\n\nnet random {{\n{text}}}\n"
