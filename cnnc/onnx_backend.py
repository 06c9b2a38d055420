"""cnnc behind ONNX's own interface for backends, `onnx.backend.base.Backend`.

    import cnnc.onnx_backend as backend
    outputs = backend.run_model(onnx.load("model.onnx"), [image])

Extents that a model leaves open are those of the arrays at hand, and so are operands that cnnc must
know when it compiles, such as the shape of a `Reshape`: other ones compile the model again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, helper
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

    def __init__(self, model: ModelProto, dims: Mapping[str, int], options: Mapping[str, Any]):
        super().__init__()
        self._model, self._dims, self._options = model, dims, options
        initial = {each.name for each in model.graph.initializer}
        self._inputs = [each.name for each in model.graph.input if each.name not in initial]
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
        if isinstance(inputs, Mapping):
            given: dict[str, Any] = {name: np.asarray(each) for name, each in inputs.items()}
        else:
            listed = [inputs] if isinstance(inputs, np.ndarray) else [*inputs]
            if len(listed) > len(self._inputs):
                raise fail("E0603", f"the model has {len(self._inputs)} inputs, not {len(listed)}")
            arrays = [each if isinstance(each, list) else np.asarray(each) for each in listed]
            given = dict(zip(self._inputs, arrays, strict=False))
        missing = [name for name in self._inputs if name not in given]
        if missing:
            raise fail("E0603", f"inputs are missing: {', '.join(missing)}")
        return given

    def _find(self, given: Mapping[str, Array]) -> tuple[Converted, Compiled | None]:
        """The model compiled for these shapes, and values where they must be known."""
        for _ in range(len(given) + 1):
            known = {name: given[name] for name in self._known if name in given}
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
        made = convert(self._model, None, Dimensions(self._dims, shapes), known)
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
        """Whether cnnc takes every node; open extents are taken to be 1 here."""
        try:
            cls.prepare(model, device, **kwargs)
            convert(read_model(model)[0], None, Dimensions())
        except UserError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> CnncRep:
        """The model, ready to run; `dims` binds open extents, the rest are options of `compile`."""
        if not cls.supports_device(device):
            raise fail("E0801", f"there is no device `{device}`", help="cnnc runs on the CPU")
        dims = kwargs.pop("dims", {})
        read, _ = read_model(model)
        return CnncRep(read, dims, kwargs)

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
        names = [name for name in node.input if name]
        arrays = _operands(names, inputs)
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


def _operands(names: Sequence[str], inputs: Any) -> dict[str, Array]:
    if isinstance(inputs, Mapping):
        return {name: np.asarray(inputs[name]) for name in names}
    listed: Sequence[ArrayLike] = [inputs] if isinstance(inputs, np.ndarray) else [*inputs]
    return {name: np.asarray(each) for name, each in zip(names, listed, strict=True)}


is_compatible = CnncBackend.is_compatible
prepare = CnncBackend.prepare
run_model = CnncBackend.run_model
run_node = CnncBackend.run_node
supports_device = CnncBackend.supports_device
