"""Kernels for a number of samples that is known at run time."""

from dataclasses import replace

from cnnc.loop.expr import Buffer, Expr, Var
from cnnc.loop.kernel import For, Kernel, Store, walk
from cnnc.lowering.loops import ScheduleError


def take_samples(kernel: Kernel, out: Buffer, batch: int) -> Kernel:
    """for n in 32 parallel: …  →  for n in 32 samples parallel: …, for every nest.

    The batch is the outermost axis of every layout, so what lies where does not depend on how many
    samples there are. What has no axis of `batch` samples depends on none, and is computed whole.
    ScheduleError where the outermost loop of a nest is not that over samples of the result, which
    every schedule keeps there.
    """
    if out.shape[0] != batch:
        return kernel
    nests: list[For] = []
    for nest in kernel.body:
        is_loop = isinstance(nest, For) and not nest.reduces and nest.extent == batch
        if not is_loop or out.layout.order[0] != 0:
            raise ScheduleError(f"a nest of {kernel.name} does not begin with its samples")
        assert isinstance(nest, For)
        for stmt in walk(nest.body):
            if isinstance(stmt, Store) and stmt.buffer == out and not _is(stmt.index[0], nest.var):
                raise ScheduleError(f"{nest.var} does not count the samples of {kernel.name}")
        nests.append(replace(nest, samples=True))
    return kernel.with_body(tuple(nests))


def _is(index: Expr, var: str) -> bool:
    return isinstance(index, Var) and index.name == var
