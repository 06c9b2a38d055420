"""A flat net written anew, stage by stage; the operators themselves say what they make."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.names import unused_name
from cnnc.ir.types import TensorType
from cnnc.onnx.flat import Array, FlatNet, Stage, Tensor
from cnnc.onnx.tidying.edits import free_key
from cnnc.onnx.tidying.views import Axes, View, extents, moves
from cnnc.ops.attributes import Symbol, Value
from cnnc.ops.spec import find_operator


class Rewriter:
    """The new net so far. Values have other names than those of the net before only if new."""

    def __init__(self, net: FlatNet) -> None:
        self.net = net
        self.stages: dict[str, Stage] = {}
        self.arrays = dict(net.arrays)
        self.notes = dict(net.notes)
        self.types = {each.name: TensorType.plain(each.shape, each.dtype) for each in net.inputs}
        self._names = {*self.types, *(stage.name for stage in net.stages)}
        self._read: dict[tuple[str, Axes], str] = {}
        self._shaped: dict[tuple[str, Shape], str] = {}

    def finish(self) -> FlatNet:
        """The net with the new stages."""
        stages = tuple(self.stages.values())
        return replace(self.net, stages=stages, arrays=self.arrays, notes=self.notes)

    def shape(self, name: str) -> Shape:
        """The shape of a value."""
        return self.types[name].shape

    def is_tensor(self, name: str | float) -> bool:
        """Whether a value belongs to the weights file."""
        return name in self.stages and self.stages[str(name)].op == "tensor"

    def array(self, name: str) -> Array:
        """The elements of a tensor of the weights file."""
        return self.arrays[self.stages[name].parameters[""]]

    def keep(self, stage: Stage) -> str:
        """The stage as it is."""
        self.stages[stage.name] = stage
        self.types[stage.name] = TensorType.plain(stage.result.shape, stage.result.dtype)
        return stage.name

    def call(
        self,
        like: Stage,
        operands: Sequence[str | float],
        attributes: Mapping[str, Value],
        *,
        op: str | None = None,
        name: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        """A stage in place of another, with that one's name, parameters and source."""
        op, name = op or like.op, name or like.name
        keys = like.parameters if parameters is None else parameters
        kind = find_operator(op)
        assert kind is not None
        flows = [self.types[each] for each in operands if isinstance(each, str)]
        dtype = next((each.dtype for each in flows if each.dtype.is_float), DType.F32)
        number = TensorType.plain((1,), dtype)
        types = [self.types[each] if isinstance(each, str) else number for each in operands]
        own = [TensorType.plain(self.arrays[key].shape, types[0].dtype) for key in keys.values()]
        result = kind.make(attributes).infer(*types, *own)
        made = Tensor(name, result.dtype, result.shape)
        return self.keep(Stage(name, op, attributes, tuple(operands), keys, made, like.source))

    def hold(self, key: str, array: Array) -> str:
        """An array under a key like this one."""
        key = free_key(key, self.arrays)
        self.arrays[key] = np.ascontiguousarray(array)
        return key

    def tensor(self, like: str, array: Array) -> str:
        """A tensor of the weights file, made of another."""
        old = self.stages[like]
        if array.shape == old.result.shape and array is self.array(like):
            return like
        name = self.claim(like)
        shown: dict[str, Value] = {"shape": array.shape}
        if old.result.dtype is not DType.F32:
            shown["dtype"] = Symbol(old.result.dtype.value)
        result = Tensor(name, old.result.dtype, array.shape)
        keys = {"": self.hold(old.parameters[""], array)}
        return self.keep(Stage(name, "tensor", shown, (), keys, result, old.source))

    def claim(self, wanted: str) -> str:
        """A name like this one that no value has."""
        name = unused_name(wanted, self._names)
        self._names.add(name)
        return name

    def is_free(self, view: View) -> bool:
        """Whether reading a view moves nothing, or is done already."""
        base = self.shape(view.base)
        return (view.base, view.axes) in self._read or not moves(view.axes, base)

    def read(self, view: View, source: str, *, is_told: bool = False) -> str:
        """The tensor that a view is: the base, reshaped, transposed or both.

        Where nothing moves, a transposition is a reshape, unless it `is_told`.
        """
        base = self.shape(view.base)
        if view.is_plain and view.rank == len(base):
            return view.base
        key = (view.base, view.axes)
        if key not in self._read:
            self._read[key] = self._transposed(view, base, source, is_told)
        return self._read[key]

    def _transposed(self, view: View, base: Shape, source: str, is_told: bool) -> str:
        shape = extents(view.axes, base)
        if not moves(view.axes, base) and not is_told:
            return self.reshape(view.base, shape, source)
        listed = [axis for axis in view.axes if axis is not None]
        order = (*listed, *(axis for axis in range(len(base)) if axis not in listed))
        name = self.claim(f"{view.base}.transpose")
        like = Stage(name, "transpose", {}, (), {}, Tensor(name, DType.F32, ()), source)
        made = self.call(like, [view.base], {"order": order})
        return self.reshape(made, shape, source)

    def reshape(self, x: str, shape: Shape, source: str, name: str | None = None) -> str:
        """The same elements under another shape; of a reshape, what that one reads."""
        while x in self.stages and self.stages[x].op in ("reshape", "flatten"):
            x = str(self.stages[x].operands[0])
        have = self.shape(x)
        if have == shape:
            return x
        if (x, shape) not in self._shaped:
            name = name or self.claim(f"{x}.reshape")
            like = Stage(name, "reshape", {}, (), {}, Tensor(name, DType.F32, ()), source)
            if len(have) > 2 and shape == (have[0], prod(have[1:])):
                made = self.call(like, [x], {}, op="flatten")
            else:
                first = 0 if shape[0] == have[0] and len(have) > 1 else shape[0]
                made = self.call(like, [x], {"shape": (first, *shape[1:])})
            self._shaped[x, shape] = made
        return self._shaped[x, shape]
