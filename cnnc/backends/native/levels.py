"""How code tells the levels of x86-64 apart where it runs."""

from collections.abc import Sequence
from dataclasses import replace

from cnnc.base.errors import UserError, fail
from cnnc.base.record import record
from cnnc.base.target import Target


@record
class Level:
    """Bits that must be set: of CPUID's leaf 1 (ECX), 7 (EBX), 0x80000001 (ECX), and of XCR0.

    Those of all lower levels among them.
    """

    first: int
    seventh: int
    extended: int
    enabled: int


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


_FIRST_2 = _bits(0, 9, 13, 19, 20, 23)  # SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT
_FIRST_3 = _FIRST_2 | _bits(12, 22, 26, 27, 28, 29)  # FMA, MOVBE, XSAVE, OSXSAVE, AVX, F16C
_SEVENTH_3 = _bits(3, 5, 8)  # BMI1, AVX2, BMI2
_SEVENTH_4 = _SEVENTH_3 | _bits(16, 17, 28, 30, 31)  # AVX-512 F, DQ, CD, BW, VL
_EXTENDED_2 = _bits(0)  # LAHF
_EXTENDED_3 = _EXTENDED_2 | _bits(5)  # LZCNT
_ENABLED_3 = _bits(1, 2)  # the system saves SSE and AVX registers
_ENABLED_4 = _ENABLED_3 | _bits(5, 6, 7)  # and those of AVX-512
_LEVELS = {
    "x86-64": Level(0, 0, 0, 0),
    "x86-64-v2": Level(_FIRST_2, 0, _EXTENDED_2, 0),
    "x86-64-v3": Level(_FIRST_3, _SEVENTH_3, _EXTENDED_3, _ENABLED_3),
    "x86-64-v4": Level(_FIRST_3, _SEVENTH_4, _EXTENDED_3, _ENABLED_4),
}


def level_of(target: Target) -> Level:
    """The level a target is; UserError for one that is none."""
    if not target.triple.startswith("x86_64") or target.cpu not in _LEVELS:
        raise _not_a_level(target)
    return _LEVELS[target.cpu]


def in_order(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Several targets, the lowest level first; UserError unless they are different levels."""
    if len(targets) == 1:
        return targets
    order = list(_LEVELS)
    found = {order.index(_name(target)): target for target in targets}
    if len(found) < len(targets):
        raise fail("E0801", "a processor is named twice for one object")
    return tuple(found[place] for place in sorted(found))


def common_target(targets: Sequence[Target]) -> Target:
    """What code beside several levels is made for, so that every x86-64 processor runs it.

    Of one target, that target. UserError where several are no levels.
    """
    if len(targets) == 1:
        return targets[0]
    for target in targets:
        level_of(target)
    return replace(targets[0], cpu=next(iter(_LEVELS)), features="+sse,+sse2")


def _name(target: Target) -> str:
    level_of(target)
    return target.cpu


def _not_a_level(target: Target) -> UserError:
    return fail(
        "E0801",
        f"code cannot choose at run time whether it is on a {target.cpu}",
        help=f"name one processor, or several of {', '.join(_LEVELS)}",
    )
