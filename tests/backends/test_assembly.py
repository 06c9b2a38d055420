"""What LLVM makes of the register tiles, read in the assembly for every family of processors."""

import re
from dataclasses import replace

import numpy as np
import pytest

from cnnc.backends.native.compile import emit_assembly
from cnnc.backends.native.targets import named_target
from cnnc.base.choice import Choice, Choices, Chosen
from cnnc.base.target import Target
from cnnc.ir.graph import Constant, Graph, Input, Node
from cnnc.ir.types import TensorType
from cnnc.loop.text import print_kernel
from cnnc.lowering.lower import lower
from cnnc.lowering.lowered import Layer, Lowered
from cnnc.offers.offer import key_of
from cnnc.offers.strassen import Form
from cnnc.ops.attributes import Padding
from cnnc.ops.conv import Conv
from cnnc.ops.pool import Pool
from cnnc.ops.pool_kinds import Maximum
from cnnc.ops.spec import Operator
from cnnc.passes.assign_layouts import assign_layouts
from cnnc.passes.use_winograd import use_winograd

FAMILIES = ("x86-64-v4", "x86-64-v3", "x86-64", "aarch64")
MULTIPLY = {
    "x86-64-v4": r"vfmadd\d+ps\s.*%zmm",
    "x86-64-v3": r"vfmadd\d+ps\s.*%ymm",
    "x86-64": r"\bmulps\s",
    "aarch64": r"fmla\s+v\d+\.4s",
}
SCALAR = r"vfmadd\d+ss|\bmulss|fmadd\s+s|\bbl?\s+fmaf|callq?\s"
SPILL = (
    r"mov[a-z]*(?:ps|dq[a-z0-9]*)\s+(?:%[xyz]mm\d+, -?\d*\(%rsp|-?\d*\(%rsp[^)]*\), %[xyz]mm)"
    r"|(?:str|ldr)\s+q\d+, \[sp|\.Spill"
)
# input channels, output channels, extent, kernel, groups, stride
LAYERS = [
    pytest.param(64, 64, 56, 3, 1, 1, id="3x3-56"),
    pytest.param(128, 128, 28, 3, 1, 1, id="3x3-28"),
    pytest.param(64, 256, 56, 1, 1, 1, id="1x1-56"),
    pytest.param(512, 512, 7, 3, 1, 1, id="3x3-7"),
    pytest.param(3, 64, 56, 7, 1, 1, id="stem"),
    pytest.param(64, 64, 56, 3, 64, 1, id="depthwise"),
    pytest.param(64, 64, 56, 3, 64, 2, id="depthwise-strided"),
    pytest.param(64, 64, 28, 5, 64, 1, id="depthwise-5x5"),
    pytest.param(64, 64, 28, 9, 64, 1, id="depthwise-9x9"),
    pytest.param(64, 64, 28, 31, 64, 1, id="depthwise-31x31"),
    pytest.param(64, 128, 56, 3, 1, 2, id="3x3-strided"),
    pytest.param(96, 96, 17, 1, 1, 1, id="1x1-odd"),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("inputs", "outputs", "extent", "kernel", "groups", "stride"), LAYERS)
def test_tiles_stay_in_registers(
    family: str, inputs: int, outputs: int, extent: int, kernel: int, groups: int, stride: int
) -> None:
    assembly = _assembly(family, inputs, outputs, extent, kernel, groups, stride)
    loop = _hottest_block(assembly, MULTIPLY[family])
    assert len(re.findall(MULTIPLY[family], loop)) >= 8
    assert not re.findall(SCALAR, loop)
    assert not re.findall(SPILL, assembly)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Conv(12, (5,), pad=Padding("same")), (12, 784)),
        (Conv(25, (5,), pad=Padding("same")), (25, 784)),
        (Conv(40, (5,), pad=Padding("same")), (40, 784)),
        (Conv(24, (3,), pad=Padding("same")), (24, 30, 27)),
        (Conv(128, (3,), pad=Padding("same"), groups=32), (128, 28, 56)),
        (Conv(128, (3,), stride=(2,), pad=Padding("same"), groups=16), (128, 56, 56)),
        (Conv(20, (1,)), (24, 28, 28)),
    ],
    ids=str,
)
def test_tiles_of_rows_stay_in_registers(family: str, op: Conv, shape: tuple[int, ...]) -> None:
    target = named_target(family)
    x = Node(Input("x"), (), TensorType.plain((1, *shape)), "x")
    value = _node(x, op, "layer")
    graph = Graph("g", (x,), {"y": value})
    chosen = Choices({key_of(value, Choices()): Chosen(Choice("rows"))})
    lowered = lower(assign_layouts(graph, target, chosen), target)
    assert _layer(lowered).kernel.origin.algorithm.startswith("in rows")
    assembly = _layer_assembly(lowered, target)
    loop = _hottest_block(assembly, MULTIPLY[family])
    assert len(re.findall(MULTIPLY[family], loop)) >= 8
    assert not re.findall(SCALAR, loop)
    assert not re.findall(SPILL, assembly)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("channels", "extent"), [(64, 56), (128, 28), (256, 14)], ids=str)
def test_winograd_products_stay_in_registers(family: str, channels: int, extent: int) -> None:
    """Transforms hold more values than there are registers; the products do not."""
    assembly = _assembly(family, channels, channels, extent, 3, 1, 1, winograd=True)
    loop = _hottest_block(assembly, r"prefetcht1|prfm\s+pldl2")
    assert len(re.findall(MULTIPLY[family], loop)) >= 32
    assert not re.findall(SCALAR, loop)
    assert not re.findall(SPILL, loop)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("inputs", "outputs", "extent"),
    [
        (512, 512, 14),
        (128, 512, 28),
        (512, 128, 28),
        (64, 256, 56),
        (192, 576, 12),
        (1024, 512, 20),
    ],
)
def test_seven_products_stay_in_registers(
    family: str, inputs: int, outputs: int, extent: int
) -> None:
    """In the form that is chosen; between the loops some sums are in two places."""
    target = named_target(family)
    lowered = _lowered(target, Conv(outputs, (1,)), inputs, extent)
    form = Form(_layer(lowered).node, target, far=False)
    shapes = [*form.shapes()]
    assert shapes
    op = form.made(min(shapes, key=lambda shape: (form.span(shape), shape.rows)))
    lowered = _lowered(target, op, inputs, extent)
    assembly = _layer_assembly(lowered, target)
    loops = [
        block[: list(re.finditer(MULTIPLY[family], block))[-1].end()]
        for block in re.split(r"^\.LBB\w+:", assembly, flags=re.MULTILINE)
        if len(re.findall(MULTIPLY[family], block)) >= 8
    ]
    assert len(loops) >= 7
    for loop in loops:
        assert not re.findall(SCALAR, loop)
        assert not re.findall(SPILL, loop)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (3, 2)], ids=str)
def test_maxima_stay_in_registers_and_ask_nothing(family: str, size: int, stride: int) -> None:
    """Taps in the padding read the element beside them: nothing is compared but with NaN."""
    pool = Pool(Maximum(), (size,), (stride,), Padding(explicit=((1, 1),)))
    target = named_target(family)
    lowered = _lowered(target, pool, 64, 56)
    text = print_kernel(_layer(lowered).kernel)
    assert "max(" in text
    assert "select" not in text
    if family != "x86-64":  # without a blend, to keep NaN takes more registers than are counted
        assert not re.findall(SPILL, _layer_assembly(lowered, target))


@pytest.mark.parametrize(
    ("inputs", "outputs", "extent", "kernel"),
    [(144, 24, 56, 1), (96, 24, 56, 1), (72, 40, 28, 1), (24, 24, 56, 3), (960, 40, 7, 1)],
)
def test_half_vectors_stay_in_registers(
    inputs: int, outputs: int, extent: int, kernel: int
) -> None:
    target = replace(named_target("x86-64-v4"), vector_units=1)
    op = Conv(outputs, (kernel,), pad=Padding("same"))
    assembly = _layer_assembly(_lowered(target, op, inputs, extent), target)
    loop = _hottest_block(assembly, MULTIPLY["x86-64-v4"])
    whole = len(re.findall(MULTIPLY["x86-64-v4"], loop))
    half = len(re.findall(MULTIPLY["x86-64-v3"], loop))
    assert half * (outputs // 16) == whole
    assert half >= 6
    assert not re.findall(SPILL, assembly)


def _hottest_block(assembly: str, instruction: str) -> str:
    """The basic block with the most multiplications."""
    blocks = re.split(r"^\.LBB\w+:", assembly, flags=re.MULTILINE)
    return max(blocks, key=lambda block: len(re.findall(instruction, block)))


def _assembly(
    family: str,
    inputs: int,
    outputs: int,
    extent: int,
    kernel: int,
    groups: int,
    stride: int,
    *,
    winograd: bool = False,
) -> str:
    op = Conv(outputs, (kernel,), stride=(stride,), pad=Padding("same"), groups=groups)
    target = named_target(family)
    return _layer_assembly(_lowered(target, op, inputs, extent, winograd=winograd), target)


def _lowered(
    target: Target, op: Operator, inputs: int, extent: int, *, winograd: bool = False
) -> Lowered:
    """The operator between two pointwise convolutions, so that both its sides are blocked."""
    x = Node(Input("x"), (), TensorType.plain((1, inputs, extent, extent)), "x")
    value = x if inputs == 3 else _node(x, Conv(inputs, (1,), bias=False), "before")
    value = _node(value, op, "layer")
    value = _node(value, Conv(value.type.channels, (1,), bias=False), "after")
    graph = Graph("g", (x,), {"y": value})
    graph = use_winograd(graph, target) if winograd else graph
    return lower(assign_layouts(graph, target), target)


def _layer(lowered: Lowered) -> Layer:
    return next(layer for layer in lowered.layers if layer.node.name == "layer")


def _layer_assembly(lowered: Lowered, target: Target) -> str:
    step = lowered.program.steps[_layer(lowered).step]
    return emit_assembly(lowered.program, step.kernel, target)


def _node(x: Node, op: Operator, name: str) -> Node:
    parameters = [
        Node(Constant(np.zeros(spec.type.shape, np.float32)), (), spec.type, f"{name}.{spec.name}")
        for spec in op.parameters(x.type)
    ]
    operands = (x, *parameters)
    return Node(op, operands, op.infer(*(operand.type for operand in operands)), name)
