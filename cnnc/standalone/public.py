"""Building from Python."""

import os
from collections.abc import Sequence
from pathlib import Path

from cnnc.api import Model
from cnnc.base.errors import fail
from cnnc.files import named_path
from cnnc.options import target_with
from cnnc.standalone.build import Built
from cnnc.standalone.build import build as build_request
from cnnc.standalone.request import BUILTIN, DEFAULT_FORMS, Limits, Request


def build(
    model: Model,
    folder: str | os.PathLike[str],
    emit: str | Sequence[str] = DEFAULT_FORMS,
    *,
    target: str = "native",
    cpu: str | None = None,
    name: str | None = None,
    threads: int = 1,
    weights: str = BUILTIN,
    exact: bool = False,
    tuning: str | os.PathLike[str] | None = None,
    cc: str | None = None,
    seed: int = 0,
    max_ram: int | None = None,
    max_flash: int | None = None,
    max_stack: int | None = None,
    force: bool = False,
) -> Built:
    """Write output that stands alone into a folder, as `cnnc build` does; docs/standalone.md.

    `emit` are forms such as `c`, `obj`, `so`, `project`; `target` is a family or a triple, with a
    processor behind a colon (`aarch64-linux-gnu:cortex-a72`), or several (`x86-64:x86-64-v2,
    x86-64-v3`), which `cpu` names as well. `weights` are `builtin` or `external`; `seed` is for
    golden vectors. Limits are in bytes. `force` replaces files that were edited. UserError for what
    cannot be built; the folder then stays as it was.
    """
    what: object = model
    if not isinstance(what, Model):
        message = f"`build` takes a Model, not {type(what).__name__}"
        raise fail("E0803", message, help="`cnnc.load` makes a Model of a text")
    request = Request(
        forms=(emit,) if isinstance(emit, str) else tuple(emit),
        target=target_with(target, cpu),
        name=name,
        threads=threads,
        weights=weights,
        exact=exact,
        tuning=Path(tuning) if tuning is not None else None,
        cc=cc,
        seed=seed,
        force=force,
        limits=Limits(max_ram, max_flash, max_stack),
    )
    return build_request(model, named_path(os.fspath(folder), "folder"), request)
