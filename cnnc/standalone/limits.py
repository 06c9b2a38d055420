"""Limits of memory as errors that say what would lower it."""

from cnnc.base.errors import Diagnostic, UserError
from cnnc.standalone.request import Limits
from cnnc.standalone.sizes import Sizes
from cnnc.standalone.unit import Unit
from cnnc.table import bytes_text


def check_limits(unit: Unit, sizes: Sizes) -> None:
    """UserError with every limit of the request that is exceeded."""
    limits: Limits = unit.request.limits
    found: list[Diagnostic] = []
    for what, limit, size, parts, help in (
        ("RAM", limits.ram, sizes.ram, _ram(sizes), _lower_ram(unit, sizes)),
        ("flash", limits.flash, sizes.flash, _flash(sizes), _lower_flash(unit, sizes)),
        (
            "stack",
            limits.stack,
            sizes.stack,
            "",
            "another register tile (docs/tuning.md), or `--exact`",
        ),
    ):
        if limit is not None and size > limit:
            message = f"{what} of {bytes_text(size)} is over the limit of {bytes_text(limit)}"
            notes = (parts,) if parts else ()
            found.append(Diagnostic("E0807", message, notes=notes, help=help))
    if found:
        raise UserError(found)


def _ram(sizes: Sizes) -> str:
    return (
        f"arena {bytes_text(sizes.arena)}, of which {bytes_text(sizes.bound)} are alive at once "
        f"in the layer `{sizes.peak}`; stack {bytes_text(sizes.stack)}"
    )


def _flash(sizes: Sizes) -> str:
    return f"weights {bytes_text(sizes.weights)}, code {bytes_text(sizes.code)}"


def _lower_ram(unit: Unit, sizes: Sizes) -> str:
    layer = next((each for each in unit.model.layers if each.name == sizes.peak), None)
    shape = f", whose result has {bytes_text(layer.bytes)}" if layer else ""
    ways = [f"fewer channels or a larger stride at or before `{sizes.peak}`{shape}"]
    if unit.model.batch > 1:
        ways.insert(0, f"a batch below {unit.model.batch}")
    if unit.request.threads > 1 and unit.abi.scratch_bytes:
        ways.append(f"fewer threads ({bytes_text(unit.abi.scratch_bytes)} for each)")
    if unit.abi.scratch_bytes:
        ways.append(f"`--exact` ({bytes_text(unit.abi.scratch_bytes)} are scratch memory)")
    return "what lowers it: " + "; ".join(ways)


def _lower_flash(unit: Unit, sizes: Sizes) -> str:
    largest = max(unit.model.layers, key=lambda layer: layer.weight_bytes)
    ways = [f"fewer channels in `{largest.name}`, which has {bytes_text(largest.weight_bytes)}"]
    if unit.request.has_weights:
        ways.append(f"`--weights external` ({bytes_text(sizes.weights)} in a file)")
    return "what lowers it: " + "; ".join(ways)
