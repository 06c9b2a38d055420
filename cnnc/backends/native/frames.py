"""What assembly says of itself: how much stack its functions take, and what they call.

LLVM says both only there. A frame is summed up from the instructions, or on 32-bit ARM the
directives, that make it; a function's stack is its frame and that of the deepest it calls.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from cnnc.base.errors import InternalError
from cnnc.base.record import record
from cnnc.base.target import Target

LONGEST_VECTOR = 1024
"""Bits of a vector register of RISC-V up to which the stack is bounded."""

_CALL = re.compile(r'^\s+(?:callq?|bl|jmp|b|b\.w|j|tail)\s+"?([A-Za-z_][\w.]*)"?(?:@PLT)?\s*$')
_COMMENT = re.compile(r"\s(?:#+|//|;|@)\s.*")


@record
class _Function:
    """A function's lines, and what it calls."""

    name: str
    lines: tuple[str, ...]

    @property
    def calls(self) -> frozenset[str]:
        """Functions named in calls, and in jumps that leave it for good."""
        found = (_CALL.match(line) for line in self.lines)
        names = {match[1] for match in found if match}
        return frozenset(name for name in names if not name.startswith("LBB"))


def _plain(assembly: str, target: Target) -> str:
    """The assembly with names as C has them: systems of Apple put a line before each."""
    is_apple = "apple" in target.triple
    return re.sub(r"\b_(?=\w)", "", assembly) if is_apple else assembly


def stack_bytes(assembly: str, target: Target, name: str) -> int:
    """The most that a call takes of the functions whose names begin with `name`."""
    functions = {each.name: each for each in _functions(_plain(assembly, target), name)}
    frame = _frame_of(target)

    @cache
    def depth(of: str) -> int:
        each = functions[of]
        below = [depth(callee) for callee in sorted(each.calls) if callee in functions]
        return frame(each.lines) + max(below, default=0)

    return max(map(depth, functions), default=0)


def called_functions(assembly: str, target: Target, name: str) -> tuple[str, ...]:
    """Functions that are called and not defined, by name."""
    functions = list(_functions(_plain(assembly, target), name))
    called = frozenset().union(*(each.calls for each in functions))
    return tuple(sorted(called - {each.name for each in functions}))


def _functions(assembly: str, name: str) -> Iterator[_Function]:
    """Labels that begin with the name, each with the lines up to the next."""
    label = re.compile(rf'^"?({re.escape(name)}_\w+)"?:')
    current, lines = "", list[str]()
    for line in assembly.splitlines():
        line = _COMMENT.sub("", line)
        if match := label.match(line):
            if current:
                yield _Function(current, tuple(lines))
            current, lines = match[1], []
        else:
            lines.append(line)
    if current:
        yield _Function(current, tuple(lines))


def _frame_of(target: Target) -> Callable[[tuple[str, ...]], int]:
    architecture = target.architecture
    if architecture == "x86_64":
        return _x86_frame
    if architecture in ("aarch64", "arm64"):
        return _aarch64_frame
    if architecture.startswith("riscv"):
        return lambda lines: _riscv_frame(lines, target.pointer_bits // 8)
    return _wasm_frame if architecture.startswith("wasm") else _arm_frame


def _x86_frame(lines: tuple[str, ...]) -> int:
    """Pushes, the register that is lowered, the most that aligning adds, the return address."""
    total, asked = 8, 0
    for line in lines:
        if re.match(r"\s+pushq\s", line):
            total += 8
        elif match := re.match(r"\s+(?:subq\s+\$|addq\s+\$-)(\d+), %rsp", line):
            total += int(match[1])
        elif match := re.match(r"\s+andq\s+\$-(\d+), %rsp", line):
            total += int(match[1]) - 8
        elif match := re.match(r"\s+movl\s+\$(\d+), %eax", line):
            asked = int(match[1])
        elif re.match(r"\s+subq\s+%rax, %rsp", line):
            total += asked
    return total


def _aarch64_frame(lines: tuple[str, ...]) -> int:
    total, asked = 0, 0
    for line in lines:
        if match := re.search(r"\[sp, #-(\d+)\]!", line):
            total += int(match[1])
        elif match := re.match(r"\s+sub\s+sp, sp, #(\d+)(, lsl #12)?", line):
            total += int(match[1]) << (12 if match[2] else 0)
        elif match := re.match(r"\s+mov\s+x15, #(\d+)", line):
            asked = int(match[1]) << 4
        elif re.match(r"\s+sub\s+sp, sp, x15, lsl #4", line):
            total += asked
    return total


def _arm_frame(lines: tuple[str, ...]) -> int:
    """The directives for unwinding say what instructions do, however large frames are."""
    total = 0
    for line in lines:
        if match := re.match(r"\s+\.pad\s+#(\d+)", line):
            total += int(match[1])
        elif match := re.match(r"\s+\.(v?)save\s+\{(.*)\}", line):
            total += len(match[2].split(",")) * (8 if match[1] else 4)
    return total


def _wasm_frame(lines: tuple[str, ...]) -> int:
    """Of the stack in memory; the machine that runs it has another one."""
    text = "\n".join(lines)
    found = re.findall(
        r"__stack_pointer\n(?:.*\n)??\s+i(?:32|64)\.const\s+(\d+)\n\s+i\d\d\.sub", text
    )
    return sum(map(int, found))


_RISCV: Mapping[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "sh1add": lambda a, b: 2 * a + b,
    "sh2add": lambda a, b: 4 * a + b,
    "sh3add": lambda a, b: 8 * a + b,
    "addi": lambda a, b: a + b,
    "addiw": lambda a, b: a + b,
    "slli": lambda a, b: a << b,
}


def _riscv_frame(lines: tuple[str, ...], word: int) -> int:
    """Follows the numbers that the stack pointer is lowered by."""
    total = 0
    known: dict[str, int] = {}
    for line in lines:
        mnemonic, *operands = re.split(r",?\s+", line.strip())
        match mnemonic, operands:
            case "addi", ["sp", "sp", number] if int(number) < 0:
                total -= int(number)
            case "sub", ["sp", "sp", register]:
                if register not in known:
                    raise InternalError(f"the frame of `{line.strip()}` is unknown")
                total += known[register]
            case "andi", ["sp", "sp", number]:
                total += -int(number) - word
            case "lui", [register, number] if number.isdigit():
                known[register] = int(number) << 12
            case "li", [register, number]:
                known[register] = int(number)
            case "csrr", [register, "vlenb"]:
                known[register] = LONGEST_VECTOR // 8
            case _, [register, left, right] if mnemonic in _RISCV and left in known:
                by = int(right) if right.lstrip("-").isdigit() else known.get(right)
                if by is not None:
                    known[register] = _RISCV[mnemonic](known[left], by)
    return total
