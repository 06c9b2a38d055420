"""An ONNX model as a flat net: every node through its importer, or refused with all others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnc.base.dtype import DType
from cnnc.base.errors import Diagnostic, UserError
from cnnc.base.record import record
from cnnc.onnx.builder import GROWTH, LARGEST, Builder, cost, dtype_of
from cnnc.onnx.dimensions import Dimensions
from cnnc.onnx.ends import needed, open_inputs
from cnnc.onnx.flat import Array, End, FlatNet, Mapped, Tensor
from cnnc.onnx.folding import MADE_OF_SHAPES, can_fold, fold
from cnnc.onnx.keras_names import layer_name, scope_of
from cnnc.onnx.naming import base_name
from cnnc.onnx.narrow import Narrow, declared_type, narrow_type, number_of, widened
from cnnc.onnx.reading import MOST_NODES, Files, inline, malformed, opsets, read_tensor
from cnnc.onnx.registry import IMPORTERS, Importer
from cnnc.onnx.reporting import listed
from cnnc.onnx.schemas import check_node
from cnnc.onnx.values import Call, Flow, Known, Lost, RefusedError, Value

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

MOST_OPERANDS = 10_000
_STANDARD = ("", "ai.onnx")


class UnsupportedError(UserError):
    """Nodes that cnnc cannot take; `wants` are inputs that would have to be known."""

    def __init__(self, diagnostics: Sequence[Diagnostic], wants: frozenset[str]) -> None:
        super().__init__(diagnostics)
        self.wants = wants


@record
class Converted:
    """What a model means: a net, unless all its results are known.

    `results` are the model's outputs in order: the number of an output of the net, or a value,
    where the net has none or the value has no elements.
    """

    net: FlatNet | None
    results: tuple[int | Array, ...]


def convert(
    model: "ModelProto",
    folder: Path | None,
    dims: Dimensions,
    constants: Mapping[str, Array] | None = None,
) -> Converted:
    """The model as a net; UserError with every node that cnnc cannot take.

    `constants` are inputs whose values are fixed.
    """
    model = inline(model)
    return _Converter(model, folder, dims, constants or {}).run()


class _Converter:
    def __init__(
        self,
        model: "ModelProto",
        folder: Path | None,
        dims: Dimensions,
        constants: Mapping[str, Array],
    ) -> None:
        self._model, self._graph = model, model.graph
        self._files, self._dims, self._constants = Files(folder), dims, constants
        self._opsets = opsets(model)
        self._scope = scope_of(model)
        self._build = Builder()
        self._values: dict[str, Value | Lost] = {}
        self._names = Counter(each.name for each in self._graph.node)
        self._refused: list[tuple[str, str]] = []
        self._wants: frozenset[str] = frozenset()
        self._report: list[Mapped] = []
        self._narrow = Narrow()

    def run(self) -> Converted:
        """The whole graph."""
        graph = self._graph
        if len(graph.node) > MOST_NODES:
            raise malformed(f"the model has more than {MOST_NODES} nodes")
        if not graph.output:
            raise malformed("the model has no outputs")
        if len({each.name for each in graph.output}) < len(graph.output):
            raise malformed("two outputs of the model have one name")
        for tensor in graph.initializer:
            array = read_tensor(tensor, self._files)
            self._define(tensor.name, self._given(array))
            self._say_widened(tensor.name, narrow_type(array.dtype))
        if graph.sparse_initializer:
            self._refuse("the graph", "it has sparse tensors")
        inputs, given = self._inputs()
        self._check_order(graph)
        used = _used_names(graph)
        for number, node in enumerate(graph.node):
            self._node(node, number, used)
        return self._finish(inputs, given)

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────

    def _inputs(self) -> tuple[list[Tensor], list[End]]:
        ends: list[End] = []
        self._dims.check(self._graph.input)
        for each in self._graph.input:
            if each.name in self._constants:
                self._values.pop(each.name, None)
                self._dims.shape_of(each)  # UserError where the array has another
                self._define(each.name, self._given(self._constants[each.name]))
            elif each.name not in self._values and (end := self._end(each)) is not None:
                ends.append(end)
        tensors, made, flows = open_inputs(self._build, ends)
        for end, flow in zip(made, flows, strict=True):
            self._define(end.name, flow)
        return tensors, [*made]

    def _end(self, info: "ValueInfoProto") -> End | None:
        """An input's type; None after noting why cnnc has none."""
        from onnx import helper

        kind = info.type
        if not kind.HasField("tensor_type"):
            self._lose(info.name, "it is no tensor")
            return None
        shape = self._dims.shape_of(info)
        try:
            found = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
            narrow = narrow_type(found)
            dtype = DType.F32 if narrow else dtype_of(found)
        except RefusedError as error:
            self._lose(info.name, error.why)
            return None
        except (KeyError, TypeError):
            self._lose(info.name, "its element type is not known")
            return None
        if 0 in shape and prod(max(1, n) for n in shape) <= LARGEST:
            self._define(info.name, Known(np.zeros(shape, found)))  # nothing is to be given
            return None
        if len(shape) > 7 or 0 in shape or prod(shape) > LARGEST:
            self._lose(info.name, f"its shape is {list(shape)}")
            return None
        self._narrow.types[info.name] = narrow
        self._say_widened(info.name, narrow)
        return End(info.name, shape, dtype, narrow=narrow)

    def _say_widened(self, name: str, narrow: str) -> None:
        if narrow:
            self._report.append(
                Mapped(name, f"{narrow} tensor", "f32, without the roundings between")
            )

    def _given(self, array: Array) -> Known:
        """A tensor of the model's own."""
        self._build.budget += GROWTH * array.size
        return Known(array)

    def _lose(self, name: str, why: str) -> None:
        self._refuse(f"input `{name}`", why)
        self._define(name, Lost())

    def _define(self, name: str, value: Value | Lost) -> None:
        if name in self._values:
            raise malformed(f"two tensors of the model are called `{name}`")
        self._values[name] = value

    def _check_order(self, graph: "GraphProto") -> None:
        """UserError where a node reads what none before it makes."""
        known = {*self._values, ""}
        for node in graph.node:
            for name in node.input:
                if name not in known:
                    reader = node.name or node.op_type
                    raise malformed(f"`{reader}` reads `{name}`, which nothing before it makes")
            known.update(node.output)
        for each in graph.output:
            if each.name not in known or not each.name:
                raise malformed(f"nothing makes the output `{each.name}`")

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────

    def _node(self, node: "NodeProto", number: int, used: frozenset[str]) -> None:
        label = f"{node.op_type} `{node.name or next(iter(node.output), str(number))}`"
        try:
            operands = [self._values[name] if name else None for name in node.input]
            results = self._results(node, operands, used)
        except RefusedError as error:
            self._refuse(label, error.why, error.wants | _knowable(operands))
            results = None
        for place, name in enumerate(node.output):
            if name:
                lost = results is None or place >= len(results)
                self._define(name, Lost() if results is None or lost else results[place])

    def _results(
        self, node: "NodeProto", operands: Sequence[Value | Lost | None], used: frozenset[str]
    ) -> list[Value] | None:
        """What a node gives; None where an operand is lost."""
        if node.domain not in _STANDARD:
            raise RefusedError(f"cnnc knows no operators of `{node.domain}`")
        if len(operands) > MOST_OPERANDS:
            raise RefusedError(f"it has more than {MOST_OPERANDS} operands")
        if "" not in self._opsets:
            raise RefusedError("the model does not say which opset it is for")
        opset, op = self._opsets[""], node.op_type
        find = IMPORTERS.find(op)
        if find is None and not can_fold(op, opset) and op not in ("Constant",):
            raise RefusedError("cnnc has no such operator")
        check_node(node, opset)
        values = [each for each in operands if not isinstance(each, Lost)]
        if len(values) < len(operands):
            return None
        if op == "Constant":
            return [self._given(self._constant(node))]
        known = [each for each in values if not isinstance(each, Flow)]
        if can_fold(op, opset) and len(known) == len(values):
            try:
                return self._fold(node, known)
            except RefusedError:
                # ONNX's reference does not know all forms, an importer may; what is too large to
                # be known may be computed at run time
                if find is None:
                    raise
        if find is None:
            wants = [each.roots for each in values if isinstance(each, Flow)]
            if op in MADE_OF_SHAPES:
                why = "its shape is computed at run time"
                raise RefusedError(why, frozenset[str]().union(*wants))
            raise RefusedError("cnnc computes it of known tensors only")
        return self._imported(node, find, values, used)

    def _imported(
        self,
        node: "NodeProto",
        find: Importer,
        operands: Sequence[Value | None],
        used: frozenset[str],
    ) -> list[Value]:
        """What the importer of its operator makes of a node."""
        opset, op, attributes = self._opsets[""], node.op_type, self._attributes(node)
        like = self._narrow.result_type(node, self._kinds(node, operands))
        if op == "CastLike" and like:
            op, attributes = "Cast", {"to": number_of(like)}
        is_used = tuple(name in used for name in node.output)
        values = tuple(None if each is None else widened(each) for each in operands)
        call = Call(op, node.name, opset, values, attributes, is_used)
        names = [name for name in node.input if isinstance(self._values.get(name), Known)]
        label = self._label(node)
        self._build.begin(self._name(node, names), label)
        before = len(self._build.stages)
        made = find(call, self._build)
        added = [f"`{each.op}`" for each in self._build.stages[before:] if each.op != "tensor"]
        became = ", ".join(added) or "nothing"
        self._report.append(Mapped(label, op, became))
        results = [made] if isinstance(made, Known | Flow) else list(made)
        self._narrow.mark(node, operands, results)
        return results

    def _kinds(self, node: "NodeProto", operands: Sequence[Value | Lost | None]) -> list[str]:
        pairs = zip(node.input, operands, strict=True)
        return [self._narrow.of(name, value) for name, value in pairs]

    def _label(self, node: "NodeProto") -> str:
        """What the report calls a node: its name if no other has it, else its first result."""
        if node.name and self._names[node.name] == 1:
            return node.name
        return next(filter(None, node.output), node.op_type)

    def _name(self, node: "NodeProto", known: Sequence[str]) -> str:
        """What the stages of a node are called."""
        if self._scope is not None and (name := layer_name(node, known, self._scope)):
            return name
        return base_name(node, known)

    def _fold(self, node: "NodeProto", operands: Sequence[Known | None]) -> list[Value]:
        """The results of a node on known tensors."""
        self._build.spend(0)
        found = fold(node, self._opsets[""], operands)
        self._build.spend(sum(cost(each.array) for each in found))
        return [*found]

    def _attributes(self, node: "NodeProto") -> Mapping[str, Any]:
        from onnx import AttributeProto, helper

        found: dict[str, Any] = {}
        for each in node.attribute:
            if each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) or each.ref_attr_name:
                raise RefusedError(f"its attribute `{each.name}` is a graph or a reference")
            if each.type in (AttributeProto.TENSOR, AttributeProto.TENSORS):
                found[each.name] = each.t
                continue
            try:
                value = helper.get_attribute_value(each)
            except ValueError:
                value = None
            if value is None:
                raise RefusedError(f"its attribute `{each.name}` has no type or value")
            is_list = not isinstance(value, int | float | bytes | str)
            found[each.name] = list(value) if is_list else value
        return found

    def _constant(self, node: "NodeProto") -> Array:
        for each in node.attribute:
            match each.name:
                case "value":
                    return read_tensor(each.t, self._files)
                case "value_float" | "value_floats":
                    value = each.f if each.name == "value_float" else list(each.floats)
                    return np.array(value, np.float32)
                case "value_int" | "value_ints":
                    whole = each.i if each.name == "value_int" else list(each.ints)
                    return np.array(whole, np.int64)
        raise RefusedError("it holds no numbers")

    # ── the end ─────────────────────────────────────────────────────────────────────────────────

    def _refuse(self, what: str, why: str, wants: frozenset[str] = frozenset()) -> None:
        self._refused.append((what, why))
        self._wants |= wants

    def _finish(self, inputs: list[Tensor], given: list[End]) -> Converted:
        if self._refused:
            raise UnsupportedError(listed(self._refused), self._wants)
        results: list[int | Array] = []
        outputs: list[tuple[str, str]] = []
        wanted: list[End] = []
        values = [self._values[each.name] for each in self._graph.output]
        flows = any(isinstance(value, Flow) for value in values)
        for each, value in zip(self._graph.output, values, strict=True):
            assert not isinstance(value, Lost)
            if isinstance(value, Known) and (not flows or not value.array.size):
                results.append(value.array)
                continue
            try:
                self._build.begin(each.name, "")
                narrow = declared_type(each) or self._narrow.of(each.name, value)
                flow = self._build.flow(widened(value))
                _check_type(each, flow)
            except RefusedError as error:
                refused = [(f"output `{each.name}`", error.why)]
                raise UnsupportedError(listed(refused), frozenset()) from None
            results.append(len(outputs))
            outputs.append((each.name, flow.name))
            wanted.append(End(each.name, flow.shape, flow.dtype, narrow=narrow))
        if not flows:
            return Converted(None, tuple(results))
        if not inputs:
            raise UnsupportedError(listed([("the graph", "it has no inputs")]), frozenset())
        stages = needed(self._build.stages, [source for _, source in outputs])
        keys = {key for stage in stages for key in stage.parameters.values()}
        arrays = {key: array for key, array in self._build.arrays.items() if key in keys}
        name = self._graph.name or "net"
        batch = inputs[0].shape[0]
        net = FlatNet(
            name, tuple(inputs), stages, tuple(outputs), arrays,
            batch, tuple(given), tuple(wanted), tuple(self._report),
        )  # fmt: skip
        return Converted(net, tuple(results))


def _check_type(info: "ValueInfoProto", flow: Flow) -> None:
    """RefusedError where the model says another type: int8 is wider inside the net."""
    from onnx import TensorProto, helper

    kind = info.type.tensor_type.elem_type
    if declared_type(info) and flow.dtype is DType.F32:
        return
    if kind and kind != helper.np_dtype_to_tensor_dtype(flow.dtype.numpy):
        names = {value: name for name, value in TensorProto.DataType.items()}
        wanted = names.get(kind, str(kind))
        raise RefusedError(f"it would be {flow.dtype}, and the model says {wanted}")


def _knowable(operands: Sequence[Value | Lost | None]) -> frozenset[str]:
    """Inputs whose values would help a node that is refused.

    Short lists of whole numbers are shapes, as a rule. Beside a tensor without elements, what the
    result holds follows from the others.
    """
    flows = [each for each in operands if isinstance(each, Flow)]
    has_none = any(isinstance(each, Known) and not each.array.size for each in operands)
    if has_none or all(each.dtype is DType.I64 and each.rank < 2 for each in flows):
        return frozenset[str]().union(*(each.roots for each in flows))
    return frozenset()


def _used_names(graph: "GraphProto") -> frozenset[str]:
    names = {name for node in graph.node for name in node.input}
    return frozenset(names | {each.name for each in graph.output}) - {""}
