"""Operators that work element by element, and softmax."""

from cnnc.ir.graph import Node
from cnnc.ops.activations.clip import Clip
from cnnc.ops.activations.hard_sigmoid import HardSigmoid
from cnnc.ops.activations.hardswish import Hardswish
from cnnc.ops.activations.leaky_relu import LeakyRelu
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.relu6 import Relu6
from cnnc.ops.activations.sigmoid import Sigmoid
from cnnc.ops.activations.silu import Silu
from cnnc.ops.activations.tanh import Tanh
from cnnc.ops.arithmetic.abs import Abs
from cnnc.ops.arithmetic.add import Add
from cnnc.ops.arithmetic.div import Div
from cnnc.ops.arithmetic.exp import Exp
from cnnc.ops.arithmetic.log import Log
from cnnc.ops.arithmetic.max import Max
from cnnc.ops.arithmetic.min import Min
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.arithmetic.neg import Neg
from cnnc.ops.arithmetic.sqrt import Sqrt
from cnnc.ops.arithmetic.sub import Sub
from cnnc.ops.axes import resolve_axis
from cnnc.ops.softmax import Softmax
from standalone.plain.writer import Body, element, emit, indices, literal, shape_of

FUNCTIONS = {
    **{Abs: "fabsf({0})", Exp: "expf({0})", Log: "logf({0})", Neg: "-{0}", Sqrt: "sqrtf({0})"},
    **{Div: "{0} / {1}", Sub: "{0} - {1}"},
    **{Relu: "{0} > 0.0f ? {0} : 0.0f", Relu6: "fminf(fmaxf({0}, 0.0f), 6.0f)"},
    **{Tanh: "tanhf({0})", Sigmoid: "1.0f / (1.0f + expf(-{0}))"},
    **{Silu: "{0} / (1.0f + expf(-{0}))"},
    **{Hardswish: "{0} * fminf(fmaxf({0} / 6.0f + 0.5f, 0.0f), 1.0f)"},
}
"""What they make of an element of each operand."""
FOLDS = {Add: "{0} + {1}", Mul: "{0} * {1}", Max: "fmaxf({0}, {1})", Min: "fminf({0}, {1})"}
"""Operators of any number of operands."""


def _function(op: object, node: Node, body: Body) -> None:
    _each(node, FUNCTIONS[type(op)], body)


def _fold(op: object, node: Node, body: Body) -> None:
    text = "{0}"
    for place in range(1, len(node.inputs)):
        text = FOLDS[type(op)].format(text, f"{{{place}}}")
    _each(node, text, body)


for _kind in FUNCTIONS:
    emit.register(_kind, _function)
for _kind in FOLDS:
    emit.register(_kind, _fold)


@emit.register
def _clip(op: Clip, node: Node, body: Body) -> None:
    _each(node, f"fminf(fmaxf({{0}}, {literal(op.low)}), {literal(op.high)})", body)


@emit.register
def _leaky(op: LeakyRelu, node: Node, body: Body) -> None:
    _each(node, f"{{0}} > 0.0f ? {{0}} : {literal(op.slope)} * {{0}}", body)


@emit.register
def _hard_sigmoid(op: HardSigmoid, node: Node, body: Body) -> None:
    line = f"{literal(op.alpha)} * {{0}} + {literal(op.beta)}"
    _each(node, f"fminf(fmaxf({line}, 0.0f), 1.0f)", body)


@emit.register
def _softmax(op: Softmax, node: Node, body: Body) -> None:
    shape = shape_of(node)
    axis = resolve_axis(op.axis, len(shape))
    names = indices("i", len(shape))
    x, y, inner = element("x0", names), element("y", names), ([names[axis]], [shape[axis]])
    outer = [place for place in range(len(shape)) if place != axis]
    with body.loops([names[place] for place in outer], [shape[place] for place in outer]):
        body.say("float largest = -INFINITY, total = 0.0f;")
        with body.loops(*inner):
            body.say(f"largest = fmaxf(largest, {x});")
        with body.loops(*inner):
            body.say(f"{y} = expf({x} - largest);", f"total += {y};")
        with body.loops(*inner):
            body.say(f"{y} /= total;")


def _each(node: Node, text: str, body: Body) -> None:
    """An expression for every element; operands align as NumPy's do."""
    shape = node.type.shape
    names = indices("i", len(shape))
    operands = []
    for place, operand in enumerate(node.inputs):
        aligned = names[len(names) - operand.type.rank :]
        pairs = zip(aligned, operand.type.shape, strict=True)
        index = ["0" if extent == 1 else name for name, extent in pairs]
        operands.append(element(f"x{place}", index))
    with body.loops(names, shape):
        body.say(f"{element('y', names)} = {text.format(*operands)};")
