"""The header of a network: what its functions take, as text for people and for compilers."""

from cnnc.backends.abi import Abi, Argument, Status
from cnnc.base.record import record
from cnnc.base.templates import fill
from cnnc.loop.kernel import ALIGNMENT
from cnnc.version import __version__

_WIDTH = 96


@record
class _End:
    macro: str
    comment: str
    size: int
    rank: int
    shape: str
    strides: str


@record
class _Status:
    name: str
    value: int
    text: str


@record
class HeaderView:
    """What the template of the header types."""

    name: str
    macro: str
    version: str
    summary: tuple[str, ...]
    hash: str
    alignment: int
    weights_bytes: int
    has_weights: int
    arena_bytes: int
    scratch_bytes: int
    stack_bytes: int
    macs: int
    most_samples: int
    ends: tuple[_End, ...]
    statuses: tuple[_Status, ...]
    samples_comment: str
    run_parameters: str
    part_parameters: str


def header_text(
    abi: Abi, *, macs: int, has_weights: bool, stack_bytes: int, summary: tuple[str, ...]
) -> str:
    """The header; `stack_bytes` 0 where it is not known, `summary` lines on what was compiled."""
    samples = ""
    if abi.most_samples is not None:
        samples = (
            f" `samples` is\n * how many samples inputs and outputs hold, from 1 to "
            f"{abi.macro}_BATCH."
        )
    return fill(
        "standalone/header.h",
        HeaderView(
            name=abi.name,
            macro=abi.macro,
            version=__version__,
            summary=summary,
            hash=f"0x{abi.hash:016x}",
            alignment=ALIGNMENT,
            weights_bytes=abi.weights_bytes,
            has_weights=int(has_weights),
            arena_bytes=abi.arena_bytes,
            scratch_bytes=abi.scratch_bytes,
            stack_bytes=stack_bytes,
            macs=macs,
            most_samples=abi.most_samples or 0,
            ends=tuple(map(_end, abi.ends)),
            statuses=tuple(
                _Status(abi.status(status), status, abi.strerror(status)) for status in Status
            ),
            samples_comment=samples,
            run_parameters=wrapped(f"int {abi.name}_run(", abi.run_parameters),
            part_parameters=wrapped(f"int {abi.name}_run_part(", abi.part_parameters),
        ),
    )


def wrapped(head: str, parameters: tuple[str, ...]) -> str:
    """Parameters in lines that stand under the first one."""
    lines, line = list[str](), ""
    for parameter in parameters:
        longer = f"{line}, {parameter}" if line else parameter
        if line and len(head) + len(longer) > _WIDTH:
            lines.append(line)
            longer = parameter
        line = longer
    return (",\n" + " " * len(head)).join([*lines, line])


def _end(end: Argument) -> _End:
    role = "output" if end.is_output else "input"
    numbers = ", ".join(map(str, end.shape))
    called = "" if end.name == end.c_name else f" (`{end.name}` in the network)"
    return _End(
        macro=end.c_name.upper(),
        comment=f"{role} {end.c_name}{called}: {end.c_type} [{numbers}]",
        size=end.size,
        rank=len(end.shape),
        shape=_braces(end.shape),
        strides=_braces(end.strides),
    )


def _braces(numbers: tuple[int, ...]) -> str:
    return f"{{{', '.join(map(str, numbers)) or '0'}}}"
