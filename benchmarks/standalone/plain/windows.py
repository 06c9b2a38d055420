"""Operators with a window, and dense layers. Whether a tap is in the padding is asked at each."""

from collections.abc import Sequence

from peers.unsupported import UnsupportedError

from cnnc.ir.graph import Node
from cnnc.ops.conv import Conv
from cnnc.ops.dense import Dense
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Average, Maximum
from cnnc.ops.window import Window
from standalone.plain.writer import Body, element, emit, indices, shape_of


@emit.register
def _conv(op: Conv, node: Node, body: Body) -> None:
    window = op.window(node.inputs[0].type)
    samples, channels, *spatial = shape_of(node)
    inner, outer = channels // op.groups, op.channels // op.groups
    out, taps, at = _names(len(spatial))
    places = ["n", "g", "o", *out]
    with body.loops(places, [samples, op.groups, outer, *window.out]):
        body.say(f"const int oc = g * {outer} + o;")
        body.say(f"float acc = {'x2[oc]' if op.bias else '0.0f'};")
        with body.loops(["i", *taps], [inner, *window.kernel]):
            _say_positions(window, body)
            x = element("x0", ["n", f"g * {inner} + i", *at])
            total = f"acc += {x} * {element('x1', ['oc', 'i', *taps])};"
            _say_inside(window, spatial, [total], body)
        body.say(f"{element('y', ['n', 'oc', *out])} = acc;")


@emit.register
def _pool(op: Pool, node: Node, body: Body) -> None:
    if not isinstance(op.kind, Maximum | Average):
        raise UnsupportedError.operator(node, "the writer of plain loops")
    window, is_max = op.window(node.inputs[0].type), isinstance(op.kind, Maximum)
    if op.count_pad:
        raise UnsupportedError.operator(node, "the writer of plain loops")
    samples, channels, *spatial = shape_of(node)
    out, taps, at = _names(len(spatial))
    with body.loops(["n", "c", *out], [samples, channels, *window.out]):
        body.say(f"float acc = {'-INFINITY' if is_max else '0.0f'};")
        if not is_max:
            body.say("int count = 0;")
        with body.loops(taps, window.kernel):
            _say_positions(window, body)
            x = element("x0", ["n", "c", *at])
            step = [f"acc = acc > {x} ? acc : {x};"] if is_max else [f"acc += {x};", "count++;"]
            _say_inside(window, spatial, step, body)
        body.say(f"{element('y', ['n', 'c', *out])} = {'acc' if is_max else 'acc / count'};")


@emit.register
def _dense(op: Dense, node: Node, body: Body) -> None:
    samples, features = shape_of(node)
    with body.loops(["n", "o"], [samples, op.features]):
        body.say(f"float acc = {'x2[o]' if op.bias else '0.0f'};")
        with body.loops(["i"], [features]):
            body.say("acc += x0[n][i] * x1[o][i];")
        body.say("y[n][o] = acc;")


def _names(axes: int) -> tuple[list[str], list[str], list[str]]:
    """Positions of the result, taps of the window, positions of the operand."""
    return indices("o", axes), indices("k", axes), indices("i", axes)


def _say_positions(window: Window, body: Body) -> None:
    """Where the tap is on the operand."""
    out, taps, at = _names(len(window.kernel))
    for axis, (before, _) in enumerate(window.pads):
        place = f"{out[axis]} * {window.stride[axis]} + {taps[axis]} * {window.dilation[axis]}"
        body.say(f"const int {at[axis]} = {place} - {before};")


def _say_inside(window: Window, spatial: Sequence[int], lines: Sequence[str], body: Body) -> None:
    """Lines under tests of those bounds that some tap passes."""
    at, tests = indices("i", len(spatial)), list[str]()
    for axis, ((before, _), extent) in enumerate(zip(window.pads, spatial, strict=True)):
        last = (window.out[axis] - 1) * window.stride[axis] + window.span(axis) - 1 - before
        tests += [f"{at[axis]} >= 0"] if before > 0 else []
        tests += [f"{at[axis]} < {extent}"] if last >= extent else []
    if not tests:
        body.say(*lines)
        return
    with body.block(f"if ({' && '.join(tests)})"):
        body.say(*lines)
