"""Which loop of a row-major kernel runs along memory."""

from cnnc.loop.affine import affine
from cnnc.loop.expr import Expr, Load, Var, children
from cnnc.loop.kernel import Body, For, Kernel, Let, Store, walk
from cnnc.loop.rewrite import parts
from cnnc.lowering.flatten import flatten


def loops_of(kernel: Kernel, var: str) -> list[For]:
    """All loops over a variable."""
    return [stmt for stmt in walk(kernel.body) if isinstance(stmt, For) and stmt.var == var]


def has_rows(kernel: Kernel, var: str) -> bool:
    """Whether all loops over `var` are innermost, and its next value means the next element.

    What they read may also be one element for all values.
    """
    loops = loops_of(flatten(kernel), var)
    return all(_steps(var, loop.body) <= {("read", 0), ("read", 1), ("write", 1)} for loop in loops)


def find_column(kernel: Kernel, lanes: int) -> str | None:
    """A loop along which a transposition reads neighbours and writes elements far apart.

    It is not the innermost one of the kernel's only nest, and fills a vector.
    """
    flat = flatten(kernel)
    nest: list[For] = []
    body = flat.body
    while len(body) == 1 and isinstance(body[0], For) and not body[0].reduces:
        nest.append(body[0])
        body = body[0].body
    for loop in reversed(nest[:-1]):
        steps = _steps(loop.var, body)
        reads = {step for access, step in steps if access == "read"}
        writes = {step for access, step in steps if access == "write"}
        if loop.extent >= lanes and reads == {1} and not writes & {0, None}:
            return loop.var
    return None


def _steps(var: str, body: Body) -> set[tuple[str, int | None]]:
    """By how much offsets grow with a variable where a body reads and writes.

    None stands for no fixed number, and for a use of the variable that is no offset.
    """
    found: set[tuple[str, int | None]] = set()

    def look(expr: Expr) -> None:
        if isinstance(expr, Load):
            found.add(("read", step_along(var, expr.index[0])))
        elif expr == Var(var):
            found.add(("read", None))
        else:
            for part in children(expr):
                look(part)

    for stmt in body:
        if isinstance(stmt, Store):
            found.add(("write", step_along(var, stmt.index[0])))
        elif not isinstance(stmt, Let):
            return {("read", None)}
        look(stmt.value)
    return found


def step_along(var: str, index: Expr) -> int | None:
    """By how much an offset grows with a variable; None if that is no fixed number."""
    step = affine(index).coefficient(Var(var))
    rest = affine(index - Var(var) * step).expr()
    return None if Var(var) in parts(rest) else step
