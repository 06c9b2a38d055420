"""Threads for a network, as C source: `NAME_pool.h` and `NAME_pool.c`."""

from cnnc.base.record import record
from cnnc.base.templates import fill
from cnnc.standalone.folder import File
from cnnc.standalone.header import wrapped
from cnnc.standalone.unit import Unit
from cnnc.standalone.views import names


@record
class PoolView:
    """What the template may see."""

    name: str
    macro: str
    pool_parameters: str
    has_samples: bool
    fields: tuple[str, ...]
    names: tuple[str, ...]
    job_arguments: str


def pool_source(unit: Unit) -> tuple[File, ...]:
    """The header and the source of the pool."""
    abi = unit.abi
    parameters = (f"{abi.name}_pool *pool", *abi.run_parameters)
    has_samples = abi.most_samples is not None
    values = ("weights", "arena", *(["samples"] if has_samples else []), *names(abi.ends))
    view = PoolView(
        abi.name,
        abi.macro,
        wrapped(f"int {abi.name}_pool_run(", parameters),
        has_samples,
        tuple(end.declaration for end in abi.ends),
        names(abi.ends),
        ", ".join(f"job->{name}" for name in values),
    )
    return tuple(
        File(f"{abi.name}_pool.{suffix}", fill(f"standalone/pool.{suffix}", view).encode())
        for suffix in ("h", "c")
    )


def pool_symbols(name: str) -> tuple[str, ...]:
    """The functions of the pool."""
    return tuple(f"{name}_pool_{verb}" for verb in ("create", "destroy", "threads", "run"))
