"""cnnc behind ONNX's own interface for backends, `onnx.backend.base.Backend`.

    import cnnc.onnx_backend as backend
    outputs = backend.run_model(onnx.load("model.onnx"), [image])

Extents that a model leaves open are those of the arrays at hand, and so are operands that cnnc must
know when it compiles, such as the shape of a `Reshape`: other ones compile the model again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from cnnc.base.errors import UserError, fail
from cnnc.compiled import Compiled
from cnnc.onnx.convert import Converted, UnsupportedError, convert
from cnnc.onnx.dimensions import Dimensions
from cnnc.onnx.loading import to_model
from cnnc.onnx.narrow import narrow_dtype, wide
from cnnc.onnx.reading import read_model

Array = NDArray[np.generic]
KEPT = 8
"""Compiled forms of one model that are kept."""


class CnncRep(BackendRep):
    """A model, compiled for the shapes of its inputs as they come."""

    def __init__(
        self,
        model: ModelProto,
        dims: Mapping[str, int],
        options: Mapping[str, Any],
        folder: Path | None = None,
    ):
        super().__init__()
        self._model, self._dims, self._options, self._folder = model, dims, options, folder
        initial = {each.name for each in model.graph.initializer}
        self._infos = {each.name: each for each in model.graph.input}
        self._inputs = [name for name in self._infos if name not in initial]
        self._outputs = [each.name for each in model.graph.output]
        self._known: tuple[str, ...] = ()
        self._made: dict[object, tuple[Converted, Compiled | None]] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, by position and by name; `inputs` are in order, one alone, or by name."""
        given = self._collect(inputs)
        made, compiled = self._find(given)
        results: list[Array] = []
        if compiled is not None:
            assert made.net is not None
            fed = dict(zip(compiled.inputs, self._shaped(made, given), strict=True))
            results = list(compiled(fed).values())
        outputs = []
        for number in made.results:
            if isinstance(number, int):
                assert made.net is not None
                end = made.net.wanted[number]
                outputs.append(_as_declared(results[number].reshape(end.shape), end.narrow))
            else:
                outputs.append(number)
        result: tuple[Any, ...] = namedtupledict("Outputs", self._outputs)(*outputs)
        return result

    def _collect(self, inputs: Any) -> dict[str, Any]:
        """The inputs by name. Those that are initializers too may be left out, or be others."""
        if isinstance(inputs, Mapping):
            found = dict(inputs)
        else:
            listed = [inputs] if isinstance(inputs, np.ndarray) else [*inputs]
            names = self._inputs if len(listed) <= len(self._inputs) else [*self._infos]
            if len(listed) > len(names):
                raise fail("E0603", f"the model has {len(names)} inputs, not {len(listed)}")
            found = dict(zip(names, listed, strict=False))
        missing = [name for name in self._inputs if name not in found]
        if missing:
            raise fail("E0603", f"inputs are missing: {', '.join(missing)}")
        unknown = [str(name) for name in found if name not in self._infos]
        if unknown:
            raise fail("E0603", f"the model has no inputs {', '.join(unknown)}")
        return {name: _as_array(self._infos[name], each) for name, each in found.items()}

    def _find(self, given: Mapping[str, Array]) -> tuple[Converted, Compiled | None]:
        """The model compiled for these shapes, and values where they must be known."""
        for _ in range(len(given) + 1):
            known = {
                name: each
                for name, each in given.items()
                if name in self._known or name not in self._inputs
            }
            values = tuple((name, each.tobytes()) for name, each in known.items())
            key = (
                tuple((name, getattr(each, "shape", None)) for name, each in given.items()),
                values,
            )
            if key in self._made:
                return self._made[key]
            try:
                made = self._compile(given, known)
            except UnsupportedError as error:
                more = [name for name in self._inputs if name in error.wants]
                if not {*more} - {*self._known}:
                    raise
                self._known = (*self._known, *(name for name in more if name not in self._known))
                continue
            if len(self._made) >= KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = made
            return made
        raise AssertionError("every round knows one input more")

    def _compile(
        self, given: Mapping[str, Array], known: Mapping[str, Array]
    ) -> tuple[Converted, Compiled | None]:
        shapes = {name: tuple(each.shape) for name, each in given.items() if hasattr(each, "shape")}
        made = convert(self._model, self._folder, Dimensions(self._dims, shapes), known)
        if made.net is None:
            return made, None
        return made, to_model(made.net).compile(**self._options)

    def _shaped(self, made: Converted, given: Mapping[str, Array]) -> list[Array]:
        assert made.net is not None
        arrays = []
        for end in made.net.given:
            array = given[end.name]
            wanted = narrow_dtype(end.narrow) if end.narrow else end.dtype.numpy
            if array.dtype != wanted:
                message = f"`{end.name}` takes {end.narrow or end.dtype}, not {array.dtype}"
                raise fail("E0602", message)
            arrays.append(wide(array).reshape(end.in_net))
        return arrays


class CnncBackend(Backend):
    """See onnx.backend.base.Backend."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether cnnc takes every node; open extents that `dims` does not bind are 1."""
        try:
            cls.prepare(model, device, **kwargs)
            read, folder = read_model(model)
            named = kwargs.get("dims", {})
            open_extents = {
                each.dim_param or f"{info.name}:{axis}": 1
                for info in read.graph.input
                for axis, each in enumerate(info.type.tensor_type.shape.dim)
                if not each.HasField("dim_value") and f"{info.name}:{axis}" not in named
            }
            convert(read, folder, Dimensions({**open_extents, **named}))
        except UserError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> CnncRep:
        """The model, ready to run; `dims` binds open extents, the rest are options of `compile`.

        It may be a path or bytes, too.
        """
        if not cls.supports_device(device):
            raise fail("E0801", f"there is no device `{device}`", help="cnnc runs on the CPU")
        dims = kwargs.pop("dims", {})
        read, folder = read_model(model)
        return CnncRep(read, dims, kwargs, folder)

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Prepare and run once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on these operands, in the newest opset or `opset_version`."""
        from onnx.defs import onnx_opset_version

        opset = kwargs.pop("opset_version", onnx_opset_version())
        arrays = _operands(node, inputs)
        given = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in arrays.items()
        ]
        made = [helper.make_tensor_value_info(name, 0, None) for name in node.output if name]
        graph = helper.make_graph([node], "node", given, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        return cls.run_model(model, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the CPU."""
        return device.split(":")[0] == "CPU"


def _as_declared(array: Array, narrow: str) -> Array:
    """A result in the model's type; what is too large for it becomes infinite."""
    if not narrow:
        return array
    with np.errstate(over="ignore"):
        return array.astype(narrow_dtype(narrow))


def _operands(node: NodeProto, inputs: Any) -> dict[str, Array]:
    """The operands by name; None stands for one that the node leaves out."""
    names = [name for name in node.input if name]
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise fail("E0603", f"operands are missing: {', '.join(missing)}")
        return {name: np.asarray(inputs[name]) for name in names}
    listed: Sequence[Any] = [inputs] if isinstance(inputs, np.ndarray) else [*inputs]
    if any(each is None for each in listed):
        pairs = zip(node.input, listed, strict=False)
        listed = [each for name, each in pairs if name and each is not None]
    if len(listed) != len(names):
        raise fail("E0603", f"the node has {len(names)} operands, not {len(listed)}")
    return {name: np.asarray(each) for name, each in zip(names, listed, strict=True)}


def _as_array(info: ValueInfoProto, given: Any) -> Any:
    """An array of the type that the model says; what is no array becomes one, sequences stay."""
    kind = info.type.tensor_type.elem_type
    if isinstance(given, TensorProto):
        given = numpy_helper.to_array(given)
    if not info.type.HasField("tensor_type") or not kind:
        return given if isinstance(given, list) else np.asarray(given)
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        array = np.asarray(given) if hasattr(given, "dtype") else np.asarray(given, dtype)
    except (KeyError, TypeError, ValueError) as error:
        raise fail("E0602", f"`{info.name}` takes another type", notes=(str(error),)) from None
    if array.dtype != dtype:
        raise fail("E0602", f"`{info.name}` takes {dtype}, not {array.dtype}")
    return array


is_compatible = CnncBackend.is_compatible
prepare = CnncBackend.prepare
run_model = CnncBackend.run_model
run_node = CnncBackend.run_node
supports_device = CnncBackend.supports_device
