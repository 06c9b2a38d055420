"""What a network takes on the machine it is for: memory, code and stack, before it is there."""

from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.lowering.lifetimes import arena_values
from cnnc.lowering.lowered import Lowered
from cnnc.lowering.plan_memory import peak_step
from cnnc.standalone.code import code_bytes
from cnnc.standalone.unit import Unit
from cnnc.table import bytes_text

_MEMORY = ("memset", "memcpy", "memmove")


@record
class Sizes:
    """Bytes. `code` has constants of the code in it; `bound` is the least that is alive at once.

    `arena` is that of all `threads`, `stack` that of one. `weights` are built in, or in a file.
    `peak` is the layer that needs most of the arena. `calls` are functions of the compiler's
    library that the code needs, whose size is not known.
    """

    arena: int
    bound: int
    stack: int
    threads: int
    weights: int
    has_weights: bool
    code: int
    peak: str
    calls: tuple[str, ...]

    @property
    def ram(self) -> int:
        """Memory that a run writes to."""
        return self.arena + self.threads * self.stack

    @property
    def flash(self) -> int:
        """What is only read, but for weights in a file."""
        return self.code + self.weights * self.has_weights

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
            "threads": self.threads,
            "calls": [*self.calls],
        }

    def describe(self) -> str:
        """The sizes in two or three lines."""
        at = f" (most of it alive in {self.peak})" if self.peak else ""
        many = f", for {self.threads} threads" if self.threads > 1 else ""
        times = f" {self.threads} times" if self.threads > 1 else ""
        where = "" if self.has_weights else " in a file"
        lines = [
            f"RAM   {bytes_text(self.ram)}: arena {bytes_text(self.arena)}{many}{at}, "
            f"stack {bytes_text(self.stack)}{times}",
            f"flash {bytes_text(self.flash)}: code {bytes_text(self.code)}, "
            f"weights {bytes_text(self.weights)}{where}",
        ]
        if self.calls:
            lines.append(f"      and of the compiler's library {', '.join(self.calls)}")
        return "\n".join(lines)


def measure_sizes(unit: Unit) -> Sizes:
    """The sizes of the unit: weights and arena exactly, code and stack as LLVM makes them."""
    lowered: Lowered = unit.lowered[0]
    nodes = [layer.node for layer in lowered.layers]
    step = peak_step(tuple(arena_values(lowered.graph, nodes).values()))
    return Sizes(
        arena=unit.abi.arena_bytes + (unit.request.threads - 1) * unit.abi.scratch_bytes,
        bound=max(program.arena_bound for program in unit.programs),
        stack=unit.code.stack_bytes,
        threads=unit.request.threads,
        weights=unit.abi.weights_bytes,
        has_weights=unit.request.has_weights,
        code=code_bytes(unit.code.object),
        peak=nodes[step].name if nodes and unit.programs[0].arena_bytes else "",
        calls=tuple(name for name in unit.code.calls if name not in _MEMORY),
    )
