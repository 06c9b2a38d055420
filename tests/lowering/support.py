"""Elementary functions as kernels of their own, and how far they are from the truth."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cnnc.backends.interp.evaluate import run_kernel
from cnnc.backends.native.targets import host_target
from cnnc.base.dtype import DType
from cnnc.base.layout import Layout
from cnnc.loop.expr import (
    Buffer,
    Const,
    Expr,
    Fma,
    Var,
    call,
)
from cnnc.loop.kernel import (
    For,
    Kernel,
    Kind,
    Program,
    Store,
    map_expressions,
)
from cnnc.loop.rewrite import transform
from cnnc.lowering.elementary import expand_elementary
from cnnc.lowering.flatten import flatten
from cnnc.lowering.vectors import expand_vectors
from tests.backends.compilers import NATIVE

Singles = NDArray[np.float32]
Reals = NDArray[np.float64]
LANES = 16
BOUNDS: dict[str, tuple[Callable[[Reals], Reals], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 1.7),
    "sigmoid": (special.expit, 2.5),
    "tanh": (np.tanh, 2.6),
    "erf": (special.erf, 1.3),
    "log": (np.log, 0.9),
    "log1p": (np.log1p, 1.0),
}
"""The truth, and the largest error in units in the last place."""


def vector_loop(size: int, lanes: int, store: Callable[[Expr], Store]) -> For:
    """A store for each element, in vectors."""
    index = Var("i.0") * lanes + Var("i.1")
    inner = For("i.1", lanes, (store(index),), Kind.VECTOR)
    return For("i.0", size // lanes, (inner,), Kind.PARALLEL)


def elementary_kernel(
    function: str, size: int, lanes: int, *more: float, dtype: DType = DType.F32
) -> Kernel:
    """y[i] = function(x[i], …) in vectors."""
    x, y = (Buffer(name, (size,), dtype, Layout.plain(1)) for name in "xy")
    rest = [Const(each, dtype) for each in more]
    loop = vector_loop(size, lanes, lambda i: Store(y, (i,), call(function, x[i], *rest)))
    return expand_elementary(expand_vectors(flatten(Kernel("k", (x, y), ("y",), (loop,)))))


def without_fma(kernel: Kernel) -> Kernel:
    """Every Fma as a product and a sum, as machines without the instruction do it."""

    def change(expr: Expr) -> Expr | None:
        return expr.a * expr.b + expr.c if isinstance(expr, Fma) else None

    return kernel.with_body(map_expressions(kernel.body, lambda expr: transform(expr, change)))


def interpreted(function: str, x: Singles, *more: float, fused: bool = True) -> Singles:
    """The function by the interpreter: in one long vector."""
    kernel = elementary_kernel(function, len(x), len(x), *more)
    y = np.full_like(x, np.nan)
    run_kernel(kernel if fused else without_fma(kernel), [x, y])
    return y


def native(function: str, x: Singles, *more: float, fused: bool = True) -> Singles:
    """The function as machine code."""
    return compile_native(function, len(x), *more, fused=fused)(x)


def compile_native(
    function: str, size: int, *more: float, fused: bool = True
) -> Callable[[Singles], Singles]:
    """The function of `size` arguments as machine code, with fused multiply-adds or not."""
    kernel = elementary_kernel(function, size, LANES, *more)
    target = replace(host_target(), has_fma=fused and host_target().has_fma)
    program = Program("p", (kernel,), (), (), (), (), 0, 0)
    executable = NATIVE.compile(program, target, 1)

    def run(x: Singles) -> Singles:
        y = np.full_like(x, np.nan)
        executable.run_kernel(0, [x, y])
        return y

    return run


def ulps(found: Singles, exact: Reals) -> Reals:
    """Distance in units in the last place of the exact value; infinite where one is no number."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(np.float32).max))
        distance = np.abs(found.astype(np.float64) - exact) / unit
    distance[(found == rounded) & ~np.isfinite(rounded)] = 0
    both_nan = np.isnan(found) & np.isnan(rounded)
    return np.where(both_nan, 0, np.where(np.isnan(distance), np.inf, distance))
