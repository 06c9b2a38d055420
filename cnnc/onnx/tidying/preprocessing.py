"""What stands between an input and the network as its preprocessing."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.record import record
from cnnc.onnx.flat import Array, FlatNet, Stage, Tensor
from cnnc.onnx.tidying.affine import Numbers, spell
from cnnc.onnx.tidying.edits import put_in_order, readers_of
from cnnc.onnx.tidying.layouts import first_order
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.movement.slice import Slice

LAYOUTS = {3: "nlc", 4: "nhwc", 5: "ndhwc"}
REVERSED = (2, 1, 0)
STEPS = frozenset(
    {"round", "round_to", "cast", "equal", "less", "less_equal", "argmax", "argmin", "pool_argmax"}
)
"""Operators whose results jump: where they read what was scaled, every rounding has to stay."""
PASSING = frozenset(
    {"add", "sub", "mul", "div", "neg", "abs", "max", "min", "clip", "relu", "relu6"}
    | {"pad", "slice", "split", "concat", "transpose", "reshape", "flatten", "where", "pool"}
)
"""Operators that hand a rounding on as it is; behind others it is one among many."""


def find_preprocessing(net: FlatNet) -> FlatNet:
    """`preprocess` for the stages that only convert, turn, scale and shift an input."""
    for each in net.inputs:
        if 3 <= len(each.shape) <= 5:
            net = _Chain(net, each).found()
    return net


@record
class _State:
    """What has been done to an input so far; `value` is the stage that did it."""

    value: str
    shape: tuple[int, ...]
    factor: Numbers
    offset: Numbers
    is_last: bool = False
    is_reversed: bool = False
    is_cast: bool = False
    path: tuple[Stage, ...] = ()


class _Chain:
    """Stages from an input on, each the only reader of what comes before it."""

    def __init__(self, net: FlatNet, given: Tensor) -> None:
        self.net, self.given = net, given
        self.readers = readers_of(net)
        self.known: Mapping[str, Stage] = {stage.name: stage for stage in net.stages}
        self.outputs = {value for _, value in net.outputs}
        self.jumps = self._reaches_step()

    def _reaches_step(self) -> bool:
        """Whether something rounds or compares what was made of the input by scaling it."""
        reached = {self.given.name: False}
        for stage in self.net.stages:
            before = [reached[str(each)] for each in stage.operands if str(each) in reached]
            if not before:
                continue
            if any(before) and stage.op in STEPS:
                return True
            if stage.op in PASSING or stage.op == "cast":
                reached[stage.name] = any(before) or stage.op in ("add", "sub", "mul", "div")
        return False

    def found(self) -> FlatNet:
        """The net with `preprocess`, as it is where that would say nothing."""
        state = _State(self.given.name, self.given.shape, np.ones(1), np.zeros(1))
        while (after := self._next(state)) is not state:
            state = after
        return self.net if self._attributes(state) is None else self._joined(state)

    def _next(self, state: _State) -> _State:
        """The state one stage later; the same one where there is none that belongs to it."""
        readers = self.readers[state.value]
        if state.value in self.outputs:
            return state
        made = self._gathered(state, readers) if len(readers) == len(REVERSED) else None
        if len(readers) == 1:
            made = self._step(state, readers[0])
        if made is None:
            return state
        # numbers that preprocessing does not have end it
        is_ready = self.given.dtype.is_float or made.is_cast
        if is_ready and spell(made.factor, made.offset) is None:
            return state
        return made

    def _step(self, state: _State, stage: Stage) -> _State | None:
        path = (*state.path, stage)
        on = replace(state, value=stage.name, shape=stage.result.shape, path=path)
        match stage.op:
            case "transpose" if stage.attributes["order"] == first_order(len(state.shape)):
                is_first = not (state.is_last or state.is_reversed) and state.factor.size == 1
                return replace(on, is_last=True) if is_first and state.offset.size == 1 else None
            case "cast" if stage.result.dtype is DType.F32 and not self.given.dtype.is_float:
                return replace(on, is_cast=True)
            case "slice" if _is_reversed(stage, state.shape):
                return _reversed(on)
        return self._arithmetic(state, on, stage)

    def _arithmetic(self, state: _State, on: _State, stage: Stage) -> _State | None:
        if self.jumps or stage.op not in ("add", "sub", "mul", "div") or len(stage.operands) != 2:
            return None
        x, other = stage.operands
        is_right = x == state.value
        number = self._numbers(other if is_right else x, state.shape)
        if number is None or stage.result.shape != state.shape:
            return None
        f, o = state.factor, state.offset
        with np.errstate(all="ignore"):
            match stage.op, is_right:
                case "add", _:
                    return replace(on, offset=o + number)
                case "sub", True:
                    return replace(on, offset=o - number)
                case "sub", False:
                    return replace(on, factor=-f, offset=number - o)
                case "mul", _:
                    return replace(on, factor=f * number, offset=o * number)
                case "div", True:
                    return replace(on, factor=f / number, offset=o / number)
        return None

    def _numbers(self, operand: str | float, shape: tuple[int, ...]) -> Numbers | None:
        """A number, or one for each channel; None where the operand is something else."""
        if not isinstance(operand, str):
            return np.array([operand], np.float64)
        stage = self.known.get(operand)
        if stage is None or stage.op != "tensor":
            return None
        array: Array = self.net.arrays[stage.parameters[""]]
        aligned = (1,) * (len(shape) - array.ndim) + array.shape
        if len(aligned) > len(shape) or _others(aligned, 1) != 1:
            return None
        return array.reshape(-1).astype(np.float64)

    def _gathered(self, state: _State, readers: list[Stage]) -> _State | None:
        """Three channels, each taken by itself, and joined the other way round."""
        after = self.readers[readers[0].name]
        is_colours = state.shape[1] == len(REVERSED)
        if (
            not is_colours
            or len(after) != 1
            or after[0].op != "concat"
            or after[0].attributes.get("axis", 1) != 1
        ):
            return None
        (joined,) = after
        if {each.name for each in readers} != {*joined.operands} or len(joined.operands) != 3:
            return None
        for place, name in zip(REVERSED, joined.operands, strict=True):
            part = self.known[str(name)]
            is_alone = self.readers[part.name] == after and part.name not in self.outputs
            if part.op != "slice" or not is_alone:
                return None
            taken = Slice.make(part.attributes).positions(state.shape)
            if any(
                [*each] != ([place] if axis == 1 else [*range(state.shape[axis])])
                for axis, each in enumerate(taken)
            ):
                return None
        path = (*state.path, *readers, joined)
        return _reversed(replace(state, value=joined.name, path=path))

    def _attributes(self, state: _State) -> Mapping[str, Value] | None:
        """What the language says; None where it is nothing but a conversion, or not f32 yet."""
        if not state.path or not (self.given.dtype.is_float or state.is_cast):
            return None
        numbers = spell(state.factor, state.offset)
        if numbers is None:
            return None
        shown: dict[str, Value] = {}
        if state.is_last:
            shown["layout"] = Symbol(LAYOUTS[len(state.shape)])
        if state.is_reversed:
            shown["colors"] = Symbol("bgr")
        if numbers.scale != 1:
            shown["scale"] = numbers.scale
        for name, values in (("mean", numbers.mean), ("std", numbers.std)):
            if values != ((0.0,) if name == "mean" else (1.0,)):
                shown[name] = values[0] if len(values) == 1 else values
        return shown or None

    def _joined(self, state: _State) -> FlatNet:
        last = state.path[-1]
        shown = self._attributes(state)
        assert shown is not None
        source = ", ".join(each.source for each in state.path if each.source)
        made = replace(
            last, op="preprocess", attributes=shown, operands=(self.given.name,),
            parameters={}, source=source,
        )  # fmt: skip
        stages = tuple(made if each is last else each for each in self.net.stages)
        return put_in_order(replace(self.net, stages=stages))


def _is_reversed(stage: Stage, shape: tuple[int, ...]) -> bool:
    """Whether a slice turns three channels round and takes all the rest."""
    return shape[1] == len(REVERSED) and all(
        tuple(each) == (REVERSED if axis == 1 else tuple(range(shape[axis])))
        for axis, each in enumerate(Slice.make(stage.attributes).positions(shape))
    )


def _reversed(state: _State) -> _State:
    turned = not state.is_reversed
    return replace(state, is_reversed=turned, factor=state.factor[::-1], offset=state.offset[::-1])


def _others(shape: tuple[int, ...], axis: int) -> int:
    """The product of all extents but one."""
    return int(np.prod([extent for place, extent in enumerate(shape) if place != axis]))
