"""What a network takes on the machine it is for: memory, code and stack, before it is there."""

from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.lowering.lifetimes import arena_values
from cnnc.lowering.lowered import Lowered
from cnnc.lowering.plan_memory import peak_step
from cnnc.standalone.code import sections
from cnnc.standalone.unit import Unit
from cnnc.table import bytes_text


@record
class Sizes:
    """Bytes. `code` has constants of the code in it; `bound` is the least that is alive at once.

    `peak` is the layer that needs most of the arena.
    """

    arena: int
    bound: int
    stack: int
    weights: int
    code: int
    peak: str

    @property
    def ram(self) -> int:
        """Memory that a run writes to."""
        return self.arena + self.stack

    @property
    def flash(self) -> int:
        """What is only read."""
        return self.code + self.weights

    def to_json(self) -> dict[str, Json]:
        """The sizes as plain data."""
        return {
            "ram_bytes": self.ram,
            "arena_bytes": self.arena,
            "arena_bound_bytes": self.bound,
            "stack_bytes": self.stack,
            "flash_bytes": self.flash,
            "weights_bytes": self.weights,
            "code_bytes": self.code,
            "peak_layer": self.peak,
        }

    def describe(self) -> str:
        """The sizes in two lines."""
        at = f" (most of it alive in {self.peak})" if self.peak else ""
        return (
            f"RAM   {bytes_text(self.ram)}: arena {bytes_text(self.arena)}{at}, "
            f"stack {bytes_text(self.stack)}\n"
            f"flash {bytes_text(self.flash)}: code {bytes_text(self.code)}, "
            f"weights {bytes_text(self.weights)}"
        )


def measure_sizes(unit: Unit) -> Sizes:
    """The sizes of the unit: weights and arena exactly, code and stack as LLVM makes them."""
    lowered: Lowered = unit.lowered[0]
    nodes = [layer.node for layer in lowered.layers]
    step = peak_step(tuple(arena_values(lowered.graph, nodes).values()))
    return Sizes(
        arena=unit.abi.arena_bytes,
        bound=max(program.arena_bound for program in unit.programs),
        stack=unit.code.stack_bytes,
        weights=unit.abi.weights_bytes,
        code=sections(unit.code.object).code,
        peak=nodes[step].name if nodes else "",
    )
