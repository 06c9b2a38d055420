"""From vector loops to vector values."""

from cnnc.loop.affine import affine
from cnnc.loop.expr import Cast, Compare, Const, Expr, Load, Local, Ramp, Var
from cnnc.loop.kernel import Alloc, Body, For, Kernel, Kind, Let, Prefetch, Stmt, Store
from cnnc.loop.rewrite import transform
from cnnc.loop.text import print_expr
from cnnc.lowering.loops import ScheduleError, substitute


def expand_vectors(kernel: Kernel) -> Kernel:
    """for v < 16 vector: y[a + v] = x[b + v] * s[c]  →  y[a : a + 16] = x[b : b + 16] * s[c]."""
    return kernel.with_body(_expand(kernel.body))


def _expand(body: Body) -> Body:
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For) and stmt.kind is Kind.VECTOR:
            single = substitute(stmt.body, {stmt.var: Const(0)}) if stmt.extent == 1 else None
            result.extend(single or _vector_body(stmt))
        elif isinstance(stmt, For):
            result.append(stmt.with_body(_expand(stmt.body)))
        else:
            result.append(stmt)
    return tuple(result)


def _vector_body(loop: For) -> Body:
    var, lanes = Var(loop.var), loop.extent
    widths: dict[str, int] = {}

    def ramp(index: Expr) -> Expr:
        form = affine(index)
        stride = form.coefficient(var)
        rest = affine(index - var * stride).expr()
        if _mentions(rest, var):
            raise ScheduleError(f"{print_expr(index)} is not linear in {loop.var}")
        return Ramp(rest, lanes, stride) if stride else rest

    def change(expr: Expr) -> Expr | None:
        match expr:
            case Load(buffer, (index,)):
                return Load(buffer, (ramp(index),)) if _mentions(index, var) else None
            case Cast(index, dtype) if index.dtype is None and _mentions(index, var):
                return Cast(ramp(index), dtype)
            case Local(name, dtype, _) if name in widths:
                return Local(name, dtype, widths[name])
        _require_one_value(expr, var)
        return None

    result: list[Stmt] = []
    for stmt in loop.body:
        match stmt:
            case Let(name, value):
                wide = transform(value, change)
                widths[name] = wide.lanes
                result.append(Let(name, wide))
            case Store(buffer, (index,), value):
                if not _mentions(index, var):
                    raise ScheduleError(f"{buffer.name} does not vary with {loop.var}")
                result.append(Store(buffer, (ramp(index),), transform(value, change)))
            case Alloc() | For() | Prefetch():
                raise ScheduleError(f"the vector loop {loop.var} is not innermost")
    return tuple(result)


def _require_one_value(expr: Expr, var: Var) -> None:
    if isinstance(expr, Compare) and expr.left.dtype is None and _mentions(expr, var):
        raise ScheduleError(f"{print_expr(expr)} differs between the lanes of {var.name}")


def _mentions(expr: Expr, var: Var) -> bool:
    found = False

    def look(part: Expr) -> Expr | None:
        nonlocal found
        found = found or part == var
        return None

    transform(expr, look)
    return found
