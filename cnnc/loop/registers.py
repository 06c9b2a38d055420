"""How register arrays are accessed."""

from cnnc.loop.expr import Expr, Load, Space, children
from cnnc.loop.kernel import Kernel, Store, expressions, walk


def register_widths(kernel: Kernel) -> dict[str, int]:
    """How many lanes each register array is written with; it is read with as many, or with one."""
    written: dict[str, set[int]] = {}
    read: dict[str, set[int]] = {}

    def look(expr: Expr) -> None:
        if isinstance(expr, Load) and expr.buffer.space is Space.REGISTER:
            read.setdefault(expr.buffer.name, set()).add(expr.index[0].lanes)
        for part in children(expr):
            look(part)

    for expr in expressions(kernel.body):
        look(expr)
    for stmt in walk(kernel.body):
        if isinstance(stmt, Store) and stmt.buffer.space is Space.REGISTER:
            written.setdefault(stmt.buffer.name, set()).add(stmt.index[0].lanes)
    for name, found in written.items():
        every = found | read.get(name, set()) - {1}
        if len(every) != 1:
            raise ValueError(f"register array {name} is accessed with widths {sorted(every)}")
    return {name: found.pop() for name, found in written.items()}
