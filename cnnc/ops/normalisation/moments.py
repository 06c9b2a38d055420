"""What normalisations by mean and variance share: two sweeps for moments, one for the result."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

import numpy as np

from cnnc.base.layout import Shape
from cnnc.base.record import record
from cnnc.ir.graph import Initial, OpError
from cnnc.ir.types import TensorType
from cnnc.loop.build import KernelBuilder
from cnnc.loop.expr import Buffer, Const, Expr, call
from cnnc.ops.spec import (
    Operator,
    ParameterSpec,
    Real,
    check_floats,
    check_parameters,
    gamma,
)

MOST_ROUNDINGS = 6
"""Of a result behind its moments: x - mean, var + eps, √, 1 / √, times weight, times x - mean."""


@record
class Lines:
    """Which elements are normalised together.

    `view` is the operand's shape, `grouped` with groups of channels as an axis of their own; the
    elements along `axes` of it share mean and variance. Loops over the view are called `names`.
    """

    view: Shape
    axes: tuple[int, ...]
    names: tuple[str, ...]
    grouped: bool = False

    def place(self, index: Sequence[Expr]) -> tuple[Expr, ...]:
        """The operand's index from an index of the view."""
        if not self.grouped:
            return tuple(index)
        n, group, channel, *position = index
        return (n, group * self.view[2] + channel, *position)

    @property
    def length(self) -> int:
        """Elements that share a mean."""
        return prod(self.view[axis] for axis in self.axes)


class Normalisation(Operator):
    """y = (x - mean) / √(var + eps) * weight + bias, over lines of the operand.

    `var` is the mean of the squared distances from the mean, taken in a second sweep: a difference
    of large squares would lose it.
    """

    eps: float
    affine: bool

    @abstractmethod
    def lines(self, shape: Shape) -> Lines:
        """The lines of an operand."""

    @abstractmethod
    def parameter_axes(self, rank: int) -> tuple[int, ...]:
        """Axes of the operand along which weight and bias differ."""

    def parameters(self, *inputs: TensorType) -> tuple[ParameterSpec, ...]:
        """See Operator."""
        x = inputs[0]
        self.lines(x.shape)
        if not self.affine:
            return ()
        shape = tuple(x.shape[axis] for axis in self.parameter_axes(x.rank))
        each = TensorType.plain(shape, x.dtype)
        first = {"weight": "ones", "bias": "zeros"}
        return tuple(ParameterSpec(name, each, Initial(kind)) for name, kind in first.items())

    def infer(self, *inputs: TensorType) -> TensorType:
        """See Operator."""
        check_floats(inputs)
        check_parameters(self, *inputs)
        return inputs[0].with_shape(inputs[0].shape)

    def reference(self, *inputs: Real) -> Real:
        """See Operator."""
        weight, bias = self._affine(inputs)
        distance, var = _moments(inputs[0], self.lines(inputs[0].shape))
        normal = (distance / np.sqrt(var + self.eps)).reshape(inputs[0].shape)
        return normal * weight + bias

    def _affine(self, operands: Sequence[Real]) -> list[Real]:
        """Weight and bias as they broadcast to operand 0; 1 and 0 where there are none."""
        rank = operands[0].ndim
        if not self.affine:
            return [np.ones((1,) * rank), np.zeros((1,) * rank)]
        shape = [1] * rank
        for axis, extent in zip(self.parameter_axes(rank), operands[1].shape, strict=True):
            shape[axis] = extent
        return [value.reshape(shape) for value in operands[1:]]

    def define(self, build: KernelBuilder, *inputs: Buffer) -> None:
        """See Operator."""
        x, dtype = inputs[0], inputs[0].dtype
        lines = self.lines(x.shape)
        kept = [axis for axis in range(len(lines.view)) if axis not in lines.axes]
        names = tuple(lines.names[axis] for axis in lines.axes)
        extents = tuple(lines.view[axis] for axis in lines.axes)

        def place(outer: Sequence[Expr], inner: Sequence[Expr]) -> tuple[Expr, ...]:
            index = dict(zip((*kept, *lines.axes), (*outer, *inner), strict=True))
            return lines.place([index[axis] for axis in range(len(lines.view))])

        outside = [lines.names[axis] for axis in kept]
        with build.loops(outside, tuple(lines.view[axis] for axis in kept)) as outer:
            mean = build.register("mean", dtype, Const(0.0, dtype))
            with build.loops(names, extents, reduces=True) as inner:
                build.store(mean, (), mean[()] + x[place(outer, inner)])
            build.store(mean, (), mean[()] / float(lines.length))
            scale = build.register("scale", dtype, Const(0.0, dtype))
            with build.loops(names, extents, reduces=True) as inner:
                distance = x[place(outer, inner)] - mean[()]
                build.store(scale, (), scale[()] + distance * distance)
            build.store(scale, (), scale[()] / float(lines.length))
            build.store(scale, (), 1.0 / call("sqrt", scale[()] + self.eps))
            with build.loops(names, extents) as inner:
                where = place(outer, inner)
                value = (x[where] - mean[()]) * scale[()]
                if self.affine:
                    own = tuple(where[axis] for axis in self.parameter_axes(len(x.shape)))
                    value = value * inputs[1][own] + inputs[2][own]
                build.result(where, value)

    def error(self, unit: float, out: Real, inputs: Sequence[Real], errors: Sequence[Real]) -> Real:
        """See Operator: errors of the moments are the same for a whole line.

        The distance from the mean is off by what the mean is off, which moves the variance by its
        square only, and by roundings. Errors of the parameters are taken to be those of `bias`.
        """
        lines = self.lines(inputs[0].shape)
        view, axes, n = lines.view, lines.axes, lines.length
        weight, _ = self._affine(inputs)
        bias_error = self._affine(errors)[1] if self.affine else 0.0
        with np.errstate(all="ignore"):
            distance, var = _moments(inputs[0], lines)
            moved, size = errors[0].reshape(view), np.abs(inputs[0].reshape(view))
            mean_error = moved.mean(axes, keepdims=True)
            mean_error = mean_error + gamma(n, unit) * (size + moved).mean(axes, keepdims=True)
            own = moved + unit * (np.abs(distance) + moved + mean_error)
            cross = 2 * (np.abs(distance) + mean_error) * own + own**2
            var_error = mean_error**2 + cross.mean(axes, keepdims=True)
            var_error = var_error + gamma(n + 2, unit) * (var + var_error)
            share = var_error / (var + self.eps)
            relative = np.where(share < 1, 1 / np.sqrt(1 - np.minimum(share, 1)) - 1, np.inf)
            relative = (1 + relative) * (1 + gamma(MOST_ROUNDINGS, unit)) - 1
            normal = np.abs(distance) / np.sqrt(var + self.eps)
            off = (own + mean_error) / np.sqrt(var + self.eps)
            bound = off * (1 + relative) + normal * relative
            # Whatever the moments are, no distance is more than √n deviations.
            bound = np.fmin(bound, normal + np.sqrt(n) * (1 + gamma(2 * n + 8, unit)))
        carried: Real = np.abs(weight) * bound.reshape(inputs[0].shape) + bias_error
        return carried + unit * (np.abs(out) + carried)


def check_channels(shape: Shape) -> None:
    """OpError unless there are channels."""
    if len(shape) < 2:
        raise OpError("the operand has no channels", at=0, note=f"its shape is {list(shape)}")


def _moments(x: Real, lines: Lines) -> tuple[Real, Real]:
    """Distances from the mean, in the view, and their mean square."""
    view = x.reshape(lines.view)
    with np.errstate(invalid="ignore"):
        distance = view - view.mean(lines.axes, keepdims=True)
        return distance, (distance * distance).mean(lines.axes, keepdims=True)
