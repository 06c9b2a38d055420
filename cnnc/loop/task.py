"""What a kernel computes, for backends that have code of their own for it: loops as plain data."""

from cnnc.base.dtype import DType
from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.loop.expr import Buffer, Local
from cnnc.loop.kernel import Body

SUM = "sum"
"""The name under which a tail reads what the layer itself computed."""


@record
class Windows:
    """A window with everything resolved, one entry for each spatial axis; see ops/window.py.

    At position o it reads x[o * stride - before + k * dilation] for k < kernel. `pads` is
    (before, after). For a transposed convolution x and the result change places:
    y[i * stride - before + k * dilation] += x[i] * w[k].
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    pads: tuple[tuple[int, int], ...]


@record
class Tail:
    """What becomes of each sum before it is stored, as flat statements.

    Let statements, then one Store to the result `y`. They read the sum as Local(SUM), buffers at
    flat offsets in their own layouts, and the position as Var: `n`, `oc`, then `ol`, or `oh` and
    `ow`. A bias is not in it: the sum begins with it.
    """

    body: Body

    @staticmethod
    def sum_of(dtype: DType) -> Local:
        """What stands for the sum."""
        return Local(SUM, dtype)


@record
class Task:
    """An operator on buffers, with what was fused behind it.

    `op` is the operator's name in the language, `options` its attributes: numbers,
    truth values, and the text of others. `params`
    are the kernel's parameters with logical shapes and layouts, the result `y` last: `x` (or `x0`,
    …), then `weight`, `bias` where the operator has them, then `e0`, … that the tail reads. `macs`
    are the multiply-accumulates.
    """

    op: str
    options: tuple[tuple[str, object], ...]
    params: tuple[Buffer, ...]
    windows: Windows | None
    tail: Tail | None
    macs: int = 0

    def param(self, name: str) -> Buffer:
        """The parameter of this name."""
        return next(each for each in self.params if each.name == name)

    def option(self, name: str) -> object:
        """The value of an attribute."""
        return dict(self.options)[name]

    def has(self, name: str) -> bool:
        """Whether there is a parameter of this name."""
        return any(each.name == name for each in self.params)
