"""Which convolutions `merge_convs` makes one of, and that it means the same."""

from math import prod

import numpy as np
import pytest

import cnnc
from cnnc.driver import find_target
from cnnc.ir.evaluate import evaluate
from cnnc.ir.graph import Constant, Graph, Node
from cnnc.ir.rewrite import substitute
from cnnc.ir.verify import verify
from cnnc.ops.activations.relu import Relu
from cnnc.ops.activations.tanh import Tanh
from cnnc.ops.arithmetic.mul import Mul
from cnnc.ops.attributes import Padding
from cnnc.ops.concat import Concat
from cnnc.ops.conv import Conv
from cnnc.ops.conv_map import ConvMap
from cnnc.ops.identity import Identity
from cnnc.passes.fold_batchnorm import fold_batchnorm
from cnnc.passes.merge_convs import merge_convs
from tests.passes.test_use_subpixel import assert_close, drawn

TARGETS = ["x86-64-v4", "x86-64-v3", "x86-64", "aarch64"]
ARGUMENTS = "5, stride = 2, pad = 3"


def net(body: str, shape: str = "12, 9, 7") -> Graph:
    """The graph of a net of one input x, with a value y."""
    return cnnc.load_text(text(body, shape)).graph


def text(body: str, shape: str) -> str:
    """The net's text."""
    return (
        f"cnn 1\nnet n {{\n  input x: f32[N, {shape}]\n{body}\n  output z = y -> id\n"
        "  weights he(seed = 1)\n}\n"
    )


def channels(*of: str) -> str:
    """A concat of several values of one expression each."""
    return "  y = concat { " + " | ".join(of) + " }"


def seen(at: str, body: str) -> str:
    """Behind some of the channels of x."""
    return f"x -> slice(1, {at}) -> {body}"


PAIRS = "  a, b, c = x -> split(3)\n" + channels(
    *(f"[{u}, {v}] -> concat -> conv(1, 5)" for u, v in ("ab", "bc", "ca") * 5),
)
ALL = channels("x -> conv(3, 3)", "x -> conv(5, 3, bias = false)", "x -> conv(1, 3)")
GROUPS = channels(*(seen(f"{at}, {at + 3}", f"conv(2, {ARGUMENTS})") for at in range(0, 12, 3)))
PART = channels("x -> relu", "x -> conv(3, 3, pad = 1)", "x -> conv(4, 3, pad = 1)", "x -> tanh")


def only(graph: Graph, kind: type) -> Node:
    """The one node of an operator."""
    (found,) = (node for node in graph.nodes if isinstance(node.op, kind))
    return found


def check(graph: Graph, after: Graph) -> None:
    """Equal results of numbers, and of NaN and infinities in single channels."""
    verify(after)
    for odd in (False, True):
        x = drawn(graph, odd=odd)
        with np.errstate(invalid="ignore"):
            wanted, found = (evaluate(each, {"x": x})["z"] for each in (graph, after))
        assert_close(found.astype(np.float32), wanted.astype(np.float32))
    for channel in range(x.shape[1]):
        x = drawn(graph)
        x[:, channel] = np.inf
        with np.errstate(invalid="ignore"):
            wanted, found = (evaluate(each, {"x": x})["z"] for each in (graph, after))
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))


@pytest.mark.parametrize("target", [*TARGETS, "cuda"])
def test_convolutions_of_the_same_become_one_with_more_channels(target: str) -> None:
    graph = net(ALL)
    after = merge_convs(graph, find_target(target))
    assert not [node for node in after.nodes if isinstance(node.op, Concat)]
    made = only(after, Conv)
    assert made.op == Conv(9, (3,))
    assert [node.name for node in made.inputs] == ["x", "y.conv.weight", "y.conv.bias"]
    check(graph, after)


@pytest.mark.parametrize("target", [*TARGETS[:3], "riscv64", "cortex-m4"])
def test_few_other_channels_each_become_groups(target: str) -> None:
    graph = net(GROUPS)
    after = merge_convs(graph, find_target(target))
    assert [type(node.op) for node in after.nodes if not node.is_leaf] == [Conv, Identity]
    made = only(after, Conv).op
    assert isinstance(made, Conv)
    assert (made.channels, made.groups, made.stride) == (8, 4, (2,))
    check(graph, after)


@pytest.mark.parametrize("target", TARGETS)
def test_single_channels_of_some_become_one_with_a_table(target: str) -> None:
    graph = net(PAIRS, "3, 9, 7")
    after = merge_convs(graph, find_target(target))
    made = only(after, ConvMap)
    assert made.op == ConvMap(Conv(15, (5,)))
    table = made.inputs[-1]
    assert table.constant is not None
    np.testing.assert_array_equal(table.constant[:3], [[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    weight = made.inputs[1].constant
    assert weight is not None
    unseen = weight[table.constant == 0]
    assert not unseen.any()
    assert np.signbit(unseen).all()
    check(graph, after)


@pytest.mark.parametrize("target", ["cuda", "cortex-m4", "riscv64"])
def test_without_vectors_no_table_pays(target: str) -> None:
    graph = net(PAIRS, "3, 9, 7")
    assert merge_convs(graph, find_target(target)) is graph


def test_a_batchnorm_behind_groups_is_folded() -> None:
    graph = net(GROUPS.replace("y =", "g =") + "\n  y = g -> batchnorm")
    after = fold_batchnorm(merge_convs(graph, find_target("x86-64-v3")))
    assert [type(node.op) for node in after.nodes if not node.is_leaf] == [Conv, Identity]


WITH_TAILS = {
    "equal": channels(*(f"relu(2 * tanh(x -> conv({to}, 3)))" for to in (3, 4))),
    "another number": channels("2 * (x -> conv(3, 3))", "3 * (x -> conv(4, 3))"),
    "another sign": channels("(x -> conv(3, 3)) * 0.0", "(x -> conv(4, 3)) * -0.0"),
    "another operator": channels("x -> conv(3, 3) -> relu", "x -> conv(4, 3) -> tanh"),
    "more": channels("x -> conv(3, 3) -> relu", "x -> conv(4, 3)"),
    "for each channel": channels("x -> conv(3, 3) -> prelu", "x -> conv(4, 3) -> prelu"),
    "another tensor": channels("(x -> conv(12, 1)) + x", "(x -> conv(12, 1)) + x"),
}


@pytest.mark.parametrize("case", WITH_TAILS)
def test_operators_behind_come_behind_one_where_they_are_equal(case: str) -> None:
    graph = net(WITH_TAILS[case])
    after = merge_convs(graph, find_target("x86-64-v3"))
    if case != "equal":
        assert after is graph
        return
    kinds = [type(node.op) for node in after.nodes if not node.is_leaf]
    assert kinds == [Conv, Tanh, Mul, Relu, Identity]
    check(graph, after)


@pytest.mark.parametrize("backend", ["native", "c", "interp"])
@pytest.mark.parametrize("body", [ALL, GROUPS, PART, PAIRS], ids=["all", "groups", "part", "pairs"])
def test_compiled_nets_agree_with_the_text(body: str, backend: str) -> None:
    """The bits may differ, as channels are summed in another order."""
    model = cnnc.load_text(text(body, "3, 9, 7" if body is PAIRS else "12, 9, 7"), batch=2)
    x = drawn(model.graph)
    wanted = evaluate(model.graph, {"x": x})["z"]
    for threads in (1, 2):
        found = model.compile(threads=threads, backend=backend)(x)["z"]
        assert_close(found, wanted.astype(np.float32))


def test_neighbours_in_a_concat_become_one_operand() -> None:
    graph = net(PART)
    after = merge_convs(graph, find_target("x86-64-v3"))
    assert only(after, Conv).op == Conv(7, (3,), pad=Padding("explicit", ((1, 1),)))
    assert len(only(after, Concat).inputs) == 3
    check(graph, after)


STAY = {
    "another reader": "  c = x -> conv(3, 3)\n  y = [c, x -> conv(3, 3), c] -> concat",
    "another window": channels(
        "x -> conv(3, 3, pad = 1)", "x -> conv(3, 3, pad = [[0, 2], [1, 1]])"
    ),
    "another axis": "  y = [x -> conv(3, 3), x -> conv(3, 3)] -> concat(axis = 2)",
    "not neighbours": channels("x -> conv(12, 1)", "x -> relu", "x -> conv(12, 1)"),
    "other positions": channels(
        "x -> slice(2, 0, 8) -> conv(3, 3)", "x -> slice(2, 1, 9) -> conv(3, 3)"
    ),
    "groups already": channels("x -> conv(6, 3, groups = 3)", "x -> conv(6, 3, groups = 3)"),
    "a channel twice": channels(
        "[x, x] -> concat -> conv(1, 3)", seen("0, 6", "conv(1, 3)"), seen("3, 9", "conv(1, 3)")
    ),
    "a channel that nothing sees": channels(
        seen("0, 6", "conv(1, 3)"), seen("3, 9", "conv(1, 3)"), seen("1, 7", "conv(1, 3)")
    ),
    "several channels of some": channels(
        seen("0, 6", "conv(2, 3)"), seen("3, 9", "conv(2, 3)"), seen("6, 12", "conv(2, 3)")
    ),
    "groups that fill vectors": channels(seen("0, 6", "conv(8, 3)"), seen("6, 12", "conv(8, 3)")),
    "sums along rows": channels("x -> conv(1, 1)", "x -> conv(1, 1)"),
    "an output": "  c = x -> conv(3, 3)\n  output d = c\n  y = [c, x -> conv(3, 3)] -> concat",
}


@pytest.mark.parametrize("body", STAY.values(), ids=STAY.keys())
def test_others_stay(body: str) -> None:
    graph = net(body)
    assert merge_convs(graph, find_target("x86-64-v3")) is graph


def test_weights_come_part_by_part() -> None:
    """However they are cut, and nothing is left out."""
    made = only(merge_convs(net(ALL), find_target("x86-64-v3")), Conv).inputs[1]
    assert isinstance(made.op, Constant)
    for rows in (1, 2, 4, 100):
        parts = [*made.op.parts(rows)]
        assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
        np.testing.assert_array_equal(np.concatenate(parts), made.op.value)
    least, most = made.op.magnitudes
    sizes = np.abs(made.op.value)
    assert 0 < least <= sizes.min()
    assert most >= sizes.max()
    assert prod(made.type.shape) == 9 * 12 * 9


def test_weights_that_others_read_are_not_copied() -> None:
    """As those of a detector's head on several maps."""
    graph = net(channels("x -> conv(3, 3)", "x -> conv(3, 3)", "x -> conv(5, 3)"))
    first, second, _ = (node.inputs[1] for node in graph.nodes if isinstance(node.op, Conv))
    shared = substitute(graph, {second: first})
    assert merge_convs(shared, find_target("x86-64-v3")) is shared


def test_chains_of_slices_and_concats_take_no_time() -> None:
    """Each is looked at once: otherwise these forty would take twice as long for each one more."""
    chain = ["  a0 = x -> id"]
    chain += [
        f"  a{at + 1} = [a{at} -> slice(1, 1, 12), a{at} -> slice(1, 0, 1)] -> concat"
        for at in range(40)
    ]
    graph = net("\n".join([*chain, channels("a40 -> conv(3, 3)", "x -> conv(3, 3)")]))
    assert merge_convs(graph, find_target("x86-64-v3")) is graph
