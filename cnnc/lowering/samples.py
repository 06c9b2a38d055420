"""Kernels for a number of samples that is known at run time."""

from collections.abc import Callable
from dataclasses import replace

from cnnc.loop.expr import Buffer, Expr, Var
from cnnc.loop.kernel import Body, For, Kernel, Kind, Store, walk
from cnnc.lowering.loops import ScheduleError


def take_samples(kernel: Kernel, out: Buffer) -> Kernel:
    """for n in 32 parallel: …  →  for n in 32 samples parallel: …, for every nest.

    The batch is the outermost axis of every layout, so what lies where does not depend on how many
    samples there are. ScheduleError where the outermost loop of a nest is not that over samples of
    the result.
    """
    if (why := _find_obstacle(kernel, out)) is not None:
        raise ScheduleError(f"{kernel.name}: {why}")
    return kernel.with_body(
        tuple(
            replace(nest, samples=True) if isinstance(nest, For) else nest for nest in kernel.body
        )
    )


def begins_with_samples(kernel: Kernel, out: Buffer) -> bool:
    """Whether the outermost loop of every nest is that over the samples of the result."""
    return _find_obstacle(kernel, out) is None


def schedule_apart(kernel: Kernel, schedule: Callable[[Kernel], Kernel]) -> Kernel:
    """Schedule what is done for one sample, and keep the loop over samples around it."""
    nests: list[For] = []
    for nest in kernel.body:
        if not isinstance(nest, For) or nest.reduces:
            raise ScheduleError(f"{kernel.name} does not begin with a loop over samples")
        made = schedule(kernel.with_body(nest.body)).body
        parts: list[Body] = [(stmt,) for stmt in made]
        if not all(isinstance(stmt, For) and not stmt.reduces for stmt in made):
            parts = [made]
        nests += [replace(nest, body=part, kind=Kind.PARALLEL) for part in parts]
    return kernel.with_body(tuple(nests))


def _find_obstacle(kernel: Kernel, out: Buffer) -> str | None:
    if out.layout.order[0] != 0:
        return "the result does not begin with its samples"
    for nest in kernel.body:
        if not isinstance(nest, For) or nest.reduces or nest.extent != out.shape[0]:
            return "a nest does not begin with its samples"
        for stmt in walk(nest.body):
            if isinstance(stmt, Store) and stmt.buffer == out and not _is(stmt.index[0], nest.var):
                return f"{nest.var} does not count samples"
    return None


def _is(index: Expr, var: str) -> bool:
    return isinstance(index, Var) and index.name == var
