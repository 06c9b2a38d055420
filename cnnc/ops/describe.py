"""What a class of operators says about itself, as plain data for readers."""

import inspect
from collections.abc import Iterator, Mapping
from math import prod

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ops.attributes import format_value
from cnnc.ops.spec import Attribute, Composite, Leaf, Named, Operator, Sample, operators

_FIELDS: Mapping[str, str] = {
    "conv": "Convolution and dense layers",
    "conv_transpose": "Convolution and dense layers",
    "unshared": "Convolution and dense layers",
    "dense": "Convolution and dense layers",
    "pool": "Pooling",
    "pool_argmax": "Pooling",
    "batchnorm": "Normalisation",
    "normalisation": "Normalisation",
    "activations": "Activations",
    "softmax": "Activations",
    "log_softmax": "Activations",
    "arithmetic": "Arithmetic",
    "comparisons": "Comparisons and choices",
    "reductions": "Reductions and products",
    "movement": "Moving data",
    "concat": "Moving data",
    "flatten": "Moving data",
    "reshape": "Moving data",
    "cast": "Element types and inputs",
    "preprocess": "Element types and inputs",
    "tensor": "Element types and inputs",
    "identity": "Without effect",
    "dropout": "Without effect",
}
"""Field of an operator by the module or folder of this package that it lives in, in order."""


@record
class AttributeInfo:
    """An attribute: its default as the language writes it, None if it must be given."""

    name: str
    default: str | None
    values: str
    doc: str


@record
class Example:
    """A call with the shapes it takes, those of its results, and the parameters it owns then."""

    call: str
    operands: tuple[Shape, ...]
    results: tuple[Shape, ...]
    parameters: tuple[tuple[str, Shape], ...]


@record
class OperatorInfo:
    """An operator as a reader needs it; `operands` are the least and most it takes."""

    name: str
    field: str
    doc: str
    operands: tuple[int, int | None]
    attributes: tuple[AttributeInfo, ...]
    example: Example

    @property
    def signature(self) -> str:
        """The call with all attributes and their defaults."""
        inside = [
            each.name + ("" if each.default is None else f" = {each.default}")
            for each in self.attributes
        ]
        return f"{self.name}({', '.join(inside)})" if inside else self.name

    @property
    def arity(self) -> str:
        """How many operands it takes, in words."""
        least, most = self.operands
        if most is None:
            return f"{least} or more operands"
        if least != most:
            return f"{least} to {most} operands"
        return f"{least} operand{'s' if least != 1 else ''}"


def describe(op: type[Named]) -> OperatorInfo:
    """What there is to say about an operator."""
    attributes = tuple(
        AttributeInfo(each.name, _default(each), each.kind.describe(), each.doc)
        for each in op.attributes()
    )
    doc = inspect.getdoc(op) or ""
    return OperatorInfo(op.name, _field(op), doc, op.arity, attributes, _example(op))


def operators_by_field() -> dict[str, list[OperatorInfo]]:
    """All operators, those of one field together."""
    known = {field: list[OperatorInfo]() for field in _FIELDS.values()}
    for op in operators():
        known.setdefault(_field(op), []).append(describe(op))
    return {field: found for field, found in known.items() if found}


def _field(op: type[Named]) -> str:
    home = op.__module__.removeprefix(f"{__package__}.").split(".")[0]
    return _FIELDS.get(home, home.replace("_", " ").capitalize())


def _default(attribute: Attribute) -> str | None:
    if attribute.required:
        return None
    return format_value(attribute.kind.unparse(attribute.default))


def _example(op: type[Named]) -> Example:
    """The first sample whose shapes tell their axes apart."""
    if issubclass(op, Leaf):
        leaf = op.example()
        return Example(_call(leaf), (), (leaf.parameter().type.shape,), ())
    samples = [*op.samples()]
    sample = max(samples, key=_clarity)
    types = sample.types
    made = sample.op
    if isinstance(made, Composite):
        results = tuple(each.infer(*types).shape for each in made.expand(*types))
        return Example(_call(made), sample.shapes, results, ())
    assert isinstance(made, Operator)
    owned = made.parameters(*types)
    result = made.infer(*types, *(spec.type for spec in owned)).shape
    named = tuple((spec.name, spec.type.shape) for spec in owned if spec.value is None)
    return Example(_call(made), sample.shapes, (result,), named)


def _clarity(sample: Sample) -> tuple[bool, bool, int]:
    """Extents greater than 1, of images; the first of the equally good is taken."""
    all_large = all(extent > 1 for shape in sample.shapes for extent in shape[1:])
    largest = max(sample.shapes, key=prod)
    return all_large, len(largest) == 4, len(set(largest[1:]))


def _call(op: Named) -> str:
    """The operator as the language calls it, without what is at its default."""
    given = [*_given(op)]
    return f"{op.name}({', '.join(given)})" if given else op.name


def _given(op: Named) -> Iterator[str]:
    in_order = True
    for each in op.attributes():
        field = getattr(op, each.name)
        if not each.required and field == each.default:
            in_order = False
            continue
        text = format_value(each.kind.unparse(field))
        yield text if in_order and each.required else f"{each.name} = {text}"
