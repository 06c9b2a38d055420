"""Nodes of a graph of ATen's operators as a flat net."""

import operator
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from cnnc.base.dtype import DType
from cnnc.onnx.builder import LARGEST, Builder, dtype_of
from cnnc.onnx.ends import needed, open_inputs
from cnnc.onnx.flat import Array, End, FlatNet, Mapped
from cnnc.onnx.values import Flow, Known, RefusedError, Value
from cnnc.torch.call import Call
from cnnc.torch.capture import Captured, Node
from cnnc.torch.needed import import_torch
from cnnc.torch.registry import IMPORTERS

Values = dict[Node, Any]
"""Values by node, lists where a node has several results."""


class Converter:
    """What nodes mean, one at a time."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._torch = import_torch()

    def why_not(self, node: Node) -> str | None:
        """Why cnnc cannot take a node; None where it can, or where its operand's node decides."""
        if node.target is operator.getitem:
            return None
        build, values = Builder(sys.maxsize), Values()
        try:
            for place, each in enumerate(self._read(node)):
                values[each] = _mapped(
                    each.meta["val"], lambda value, place=place: _open(build, f"x{place}", value)
                )
            self.add(node, build, values)
        except RefusedError as error:
            return error.why
        return None

    def _read(self, node: Node) -> list[Node]:
        return [each for each in node.all_input_nodes if each not in self._captured.known]

    def add(self, node: Node, build: Builder, values: Values) -> None:
        """Add the stages of a node, whose operands `values` has; RefusedError where it cannot."""
        if node.target is operator.getitem:
            source, place = node.args
            values[node] = values[source][place]
            return
        if not isinstance(node.target, self._torch._ops.OpOverload):
            raise RefusedError("it is no operator of ATen")
        space, _, name = node.target._schema.name.partition("::")
        importer = IMPORTERS.find(name) if space == "aten" else None
        if importer is None:
            raise RefusedError("cnnc has no such operator")
        metas = node.meta.get("val")
        metas = list(metas) if isinstance(metas, list | tuple) else [metas]
        if not all(isinstance(each, self._torch.Tensor) for each in metas if each is not None):
            raise RefusedError("its results are no tensors")
        shapes = tuple(() if each is None else tuple(map(int, each.shape)) for each in metas)
        dtypes = tuple(DType.F32 if each is None else dtype_of_torch(each.dtype) for each in metas)
        arguments, used = self._arguments(node, values), _used(node, len(metas))
        keeps = self._captured.keeps_samples
        call = Call(name, arguments, shapes, dtypes, used, keeps)
        build.begin(self._base(node), node.name)
        made = importer(call, build)
        results = [made] if isinstance(made, Flow | Known) else list(made)
        for meta, result in zip(metas, results, strict=False):
            if result is not None:
                _check(build.flow(result), meta)
        is_several = isinstance(node.meta["val"], list | tuple)
        first = results[0]
        assert first is not None
        values[node] = results if is_several else build.flow(first)

    def _arguments(self, node: Node, values: Values) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, argument in enumerate(node.target._schema.arguments):
            if place < len(node.args):
                given = node.args[place]
            elif argument.name in node.kwargs:
                given = node.kwargs[argument.name]
            else:
                given = argument.default_value
            found[argument.name] = self._argument(given, values)
        return found

    def _argument(self, given: Any, values: Values) -> Any:
        if isinstance(given, self._torch.fx.Node):
            if given in self._captured.known:
                return known_value(self._captured.known[given])
            return values[given]
        if isinstance(given, list | tuple):
            return [self._argument(each, values) for each in given]
        return given

    def _base(self, node: Node) -> str:
        """What its stages are called: as the module whose parameters it reads, or that calls it."""
        for each in node.all_input_nodes:
            path, _, _ = self._captured.labels.get(each, "").rpartition(".")
            if path:
                return path
        stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
        last = str(stack[-1]) if stack else ""
        return last or str(node.name)


def convert(
    captured: Captured,
    name: str,
    inputs: Sequence[Node],
    nodes: Sequence[Node],
    outputs: Sequence[Node],
) -> FlatNet:
    """Some nodes as a net, with their inputs and outputs in order; RefusedError where it cannot."""
    build, values = Builder(sys.maxsize), Values()
    ends = [_end(each.name, each.meta["val"]) for each in inputs]
    if not ends:
        raise RefusedError("it has no inputs")
    tensors, given, flows = open_inputs(build, ends)
    values.update(zip(inputs, flows, strict=True))
    converter = Converter(captured)
    for node in nodes:
        converter.add(node, build, values)
    for each in outputs:
        if each in captured.known:
            build.begin(each.name, each.name)
            values[each] = known_value(captured.known[each])
    found = [build.flow(values[each]) for each in outputs]
    wanted = [
        End(each.name, flow.shape, flow.dtype) for each, flow in zip(outputs, found, strict=True)
    ]
    stages = needed(build.stages, [flow.name for flow in found])
    keys = {key for stage in stages for key in stage.parameters.values()}
    net = FlatNet(
        name, tuple(tensors), stages,
        tuple((each.name, flow.name) for each, flow in zip(outputs, found, strict=True)),
        {key: array for key, array in build.arrays.items() if key in keys},
        tensors[0].shape[0], given, tuple(wanted), _report(nodes, build),
    )  # fmt: skip
    return _named(net, captured)


def _report(nodes: Sequence[Node], build: Builder) -> tuple[Mapped, ...]:
    became: dict[str, list[str]] = {}
    for stage in build.stages:
        became.setdefault(stage.source, []).append(stage.op)
    return tuple(
        Mapped(each.name, str(each.target), ", ".join(became.get(each.name, ()))) for each in nodes
    )


def _named(net: FlatNet, captured: Captured) -> FlatNet:
    """The net with arrays called as the module calls them, where they are its own."""
    own: dict[tuple[int, tuple[int, ...]], str] = {}
    for node, label in captured.labels.items():
        tensor = captured.known[node]
        own.setdefault((tensor.data_ptr(), tuple(tensor.shape)), label)
    called: dict[str, str] = {}
    taken: set[str] = set()
    for key, array in net.arrays.items():
        label = own.get((array.__array_interface__["data"][0], tuple(array.shape)), key)
        called[key] = key if label in taken else label
        taken.add(called[key])
    if len(taken) < len(called):  # a name of the module is one of a stage's: leave them all
        return net
    stages = tuple(
        replace(each, parameters={name: called[key] for name, key in each.parameters.items()})
        for each in net.stages
    )
    return replace(net, stages=stages, arrays={called[k]: a for k, a in net.arrays.items()})


def known_value(given: Any) -> Any:
    """A known tensor as one of cnnc, sharing its memory; whatever else it is, itself."""
    if isinstance(given, list | tuple):
        return [known_value(each) for each in given]
    if not hasattr(given, "data_ptr"):
        return given
    try:
        array: Array = given.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise RefusedError(f"a known tensor cannot be read: {error}") from None
    return Known(array)


def _open(build: Builder, name: str, value: Any) -> Flow:
    end = _end(name, value)
    tensor = build.input(end.name, end.shape, end.dtype)
    return Flow(tensor.name, end.shape, end.dtype)


def _end(name: str, value: Any) -> End:
    """What is read; RefusedError where cnnc has no such tensors."""
    torch = import_torch()
    if not isinstance(value, torch.Tensor):
        raise RefusedError("it reads what is no tensor")
    if value.device.type != "cpu":
        raise RefusedError(f"its operands lie on the device {value.device}")
    shape = tuple(int(each) for each in value.shape)
    if 0 in shape or prod(shape) > LARGEST or len(shape) > 7:
        raise RefusedError(f"it reads a tensor of shape {list(shape)}")
    return End(name, shape, dtype_of_torch(value.dtype))


def dtype_of_torch(dtype: Any) -> DType:
    """The element type of the net; RefusedError where it has none."""
    name = str(dtype).removeprefix("torch.")
    try:
        found = dtype_of(np.dtype(name))
    except TypeError:
        raise RefusedError(f"cnnc has no tensors of {name}") from None
    if found is DType.F64:
        raise RefusedError("cnnc takes no modules of float64")
    return found


def _check(made: Value, meta: Any) -> None:
    """RefusedError where torch would give another type or shape."""
    assert isinstance(made, Flow)
    wanted = tuple(int(each) for each in meta.shape)
    if made.shape != wanted:
        raise RefusedError(f"it would be {list(made.shape)}, and torch makes {list(wanted)}")
    if made.dtype is not dtype_of_torch(meta.dtype):
        raise RefusedError(f"it would be {made.dtype}, and torch makes {meta.dtype}")


def _used(node: Node, count: int) -> tuple[bool, ...]:
    """Which results somebody reads."""
    places = {user.args[1] for user in node.users if user.target is operator.getitem}
    if any(user.target is not operator.getitem for user in node.users):
        places |= {0} if count == 1 else {*range(count)}
    return tuple(place in places for place in range(count))


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, list | tuple):
        return [None if each is None else function(each) for each in value]
    return function(value)


def refused_nodes(captured: Captured) -> Mapping[Node, str]:
    """The nodes that cnnc cannot take, and why."""
    converter = Converter(captured)
    reasons = ((node, converter.why_not(node)) for node in captured.calls)
    return {node: why for node, why in reasons if why is not None}
