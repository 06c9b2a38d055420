"""Which steps of a program one kernel may run, as nobody else sees what flows between them."""

from collections.abc import Iterator

from cnnc.loop.kernel import Kernel, Place, Program, Region, Step

Range = tuple[int, int]
"""The first byte in the arena, and that behind the last."""


def chain_from(program: Program, first: int, most: int) -> tuple[Step, ...]:
    """The step of this number and those behind it, `most` at most, that one kernel may run.

    Each reads, as its first operand, what the one before has written to the arena and nobody else
    reads. What the last writes lies apart from all that the others read.
    """
    steps = program.steps
    count = 1
    while count < most and first + count < len(steps) and _feeds(program, first + count - 1):
        count += 1
    while count > 1 and _overwrites(program, steps[first : first + count]):
        count -= 1
    return steps[first : first + count]


def _feeds(program: Program, number: int) -> bool:
    """Whether the step writes only what the next one reads first, and no other."""
    step, following = program.steps[number], program.steps[number + 1]
    kernel, reader = _kernel(program, step), _kernel(program, following)
    made, read = step.places[-1], following.places[0]
    if made != read or made.region is not Region.ARENA or len(kernel.outputs) != 1:
        return False
    whole = _range(program, step, len(step.places) - 1)
    is_same = whole == _range(program, following, 0) and reader.params[0].name not in reader.outputs
    return is_same and not _is_read_later(program, number + 1, whole)


def _is_read_later(program: Program, number: int, whole: Range) -> bool:
    """Whether a step reads any of these bytes, but for the first operand of this one."""
    for at, step in enumerate(program.steps[number:]):
        for position, is_written in _operands(program, step):
            if not is_written and (at or position) and _meet(whole, program, step, position):
                return True
        # what is written over was of no use any more
        if any(w and _meet(whole, program, step, p) for p, w in _operands(program, step)):
            return False
    return False


def _overwrites(program: Program, steps: tuple[Step, ...]) -> bool:
    """Whether the last of the steps writes where one of them reads what none of them wrote."""
    last = steps[-1]
    if last.places[-1].region is not Region.ARENA:
        return False
    made = _range(program, last, len(last.places) - 1)
    return any(
        not is_written and _meet(made, program, step, position)
        for at, step in enumerate(steps)
        for position, is_written in _operands(program, step)
        if at == 0 or position
    )


def _operands(program: Program, step: Step) -> Iterator[tuple[int, bool]]:
    """Positions of the parameters that lie in the arena, and whether they are written."""
    kernel = _kernel(program, step)
    for position, (param, place) in enumerate(zip(kernel.params, step.places, strict=True)):
        if place.region is Region.ARENA:
            yield position, param.name in kernel.outputs


def _meet(whole: Range, program: Program, step: Step, position: int) -> bool:
    first, end = _range(program, step, position)
    return first < whole[1] and whole[0] < end


def _range(program: Program, step: Step, position: int) -> Range:
    place: Place = step.places[position]
    param = _kernel(program, step).params[position]
    return place.offset, place.offset + param.size * param.dtype.bytes


def _kernel(program: Program, step: Step) -> Kernel:
    return program.kernels[step.kernel]
