"""Extents that a model leaves open."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from cnnc.base.errors import fail
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.onnx.reading import MOST_AXES, malformed

if TYPE_CHECKING:
    from onnx import ValueInfoProto


@record
class Dimensions:
    """Extents by the names that the model gives them; `input:axis` for one without a name.

    `shapes` are whole shapes by input, of arrays at hand. A first extent that nobody names is the
    batch, 1.
    """

    named: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def shape_of(self, info: "ValueInfoProto") -> Shape:
        """The shape of an input; UserError where an extent is not known."""
        kind, name = info.type.tensor_type, info.name
        if len(kind.shape.dim) > MOST_AXES:
            raise malformed(f"`{name}` has {len(kind.shape.dim)} axes")
        if name in self.shapes:
            return self._given(info, self.shapes[name])
        if not kind.HasField("shape"):
            raise fail("E0903", f"the model says no shape for its input `{name}`")
        extents: list[int] = []
        unknown: list[str] = []
        for axis, each in enumerate(kind.shape.dim):
            key = each.dim_param or f"{name}:{axis}"
            if each.HasField("dim_value"):
                if not 0 <= each.dim_value < 2**31:
                    raise malformed(f"axis {axis} of `{name}` has the extent {each.dim_value}")
                extents.append(each.dim_value)
            elif key in self.named or f"{name}:{axis}" in self.named:
                extents.append(self.named.get(key, self.named.get(f"{name}:{axis}", 1)))
            elif axis == 0:
                extents.append(1)
            else:
                unknown.append(key)
        if unknown:
            message = f"the model leaves extents of `{name}` open: {', '.join(unknown)}"
            help = f'say what they are: `dims={{"{unknown[0]}": 224}}`, `--dim {unknown[0]}=224`'
            raise fail("E0903", message, help=help)
        if any(not 0 <= n < 2**31 for n in extents):
            raise fail("E0903", f"`{name}` would have the shape {extents}")
        return tuple(extents)

    def _given(self, info: "ValueInfoProto", shape: Shape) -> Shape:
        """The shape of the array at hand; UserError where the model or `named` says another."""
        kind, name = info.type.tensor_type, info.name
        if not kind.HasField("shape"):
            return shape
        wanted = [
            each.dim_value
            if each.HasField("dim_value")
            else self.named.get(each.dim_param, self.named.get(f"{name}:{axis}"))
            for axis, each in enumerate(kind.shape.dim)
        ]
        if len(wanted) != len(shape) or any(
            n is not None and n != extent for n, extent in zip(wanted, shape, strict=True)
        ):
            shown = ", ".join("?" if n is None else str(n) for n in wanted)
            raise fail("E0601", f"`{name}` takes [{shown}], not {list(shape)}")
        return shape

    def check(self, inputs: "Iterable[ValueInfoProto]") -> None:
        """UserError where a name is that of no extent, or an extent is none."""
        known = {
            key: None
            for info in inputs
            for axis, each in enumerate(info.type.tensor_type.shape.dim)
            if not each.HasField("dim_value")
            for key in (each.dim_param, f"{info.name}:{axis}")
            if key
        }
        for name, extent in self.named.items():
            if isinstance(extent, bool) or not isinstance(extent, int) or not 0 <= extent < 2**31:
                raise fail("E0903", f"`{name}` is to be {extent!r}, which is no extent")
            if name not in known:
                help = f"open are {', '.join(known)}" if known else "it leaves none open"
                raise fail("E0903", f"the model leaves no extent `{name}` open", help=help)
