"""Small models that ask for much, one operator at a time: user errors, at once."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

import cnnc.onnx
from cnnc.base.errors import UserError
from tests.onnx.test_hostile import LONGEST, external, ints, model_of

FAR = 2**40
Make = Callable[[], onnx.ModelProto]
node = helper.make_node


def known(name: str, values: ArrayLike) -> TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(values), name)


def one(
    op: str, *initial: TensorProto, shape: tuple[int, ...] = (1, 3, 8, 8), **attributes: object
) -> onnx.ModelProto:
    """A model of one node, which reads x and then all that is known."""
    read = ["x", *(each.name for each in initial)]
    return model_of([node(op, read, ["y"], **attributes)], shape, initial)


def beside(op: str, *initial: TensorProto, **attributes: object) -> onnx.ModelProto:
    """What a node makes of known tensors alone, added to x."""
    made = node(op, [each.name for each in initial], ["c"], **attributes)
    return model_of([made, node("Add", ["x", "c"], ["y"])], initial=initial)


def many(op: str, count: int, *initial: TensorProto) -> onnx.ModelProto:
    """The same large constant again and again."""
    read = [each.name for each in initial]
    nodes = [node(op, read, [f"c{number}"]) for number in range(count)]
    return model_of([*nodes, node("Add", ["x", "c1"], ["y"])], initial=initial)


def resized(scales: Sequence[float], **attributes: object) -> onnx.ModelProto:
    """A Resize by scales."""
    made = node("Resize", ["x", "", "s"], ["y"], **attributes)
    return model_of([made], initial=(known("s", np.array(scales, np.float32)),))


def branching(op: str, *names: str) -> onnx.ModelProto:
    """A node with graphs of its own."""
    end = helper.make_tensor_value_info("q", TensorProto.FLOAT, None)
    body = helper.make_graph([node("Relu", ["x"], ["q"])], "body", [], [end])
    made = node(op, ["c"], ["y"], **dict.fromkeys(names, body))
    return model_of([made], initial=(known("c", True),))


def sparse() -> onnx.ModelProto:
    """A sparse tensor that says it is large."""
    held = helper.make_sparse_tensor(known("v", np.ones(1, np.float32)), ints("i", 0), [FAR])
    model = model_of([node("Add", ["x", "v"], ["y"])])
    model.graph.sparse_initializer.append(held)
    return model


def chain(count: int) -> onnx.ModelProto:
    """Functions that call each other, so deep."""
    model = model_of([node("f0", ["x"], ["y"], domain="own")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for number in range(count):
        inner = node(f"f{number + 1}", ["x"], ["z"], domain="own")
        model.functions.append(
            helper.make_function("own", f"f{number}", ["x"], ["z"], [inner], imports)
        )
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


ONES = np.ones(1, np.float32)
NOTHING = np.zeros(0, np.float32)
WIDE = (1, 2**31 - 1)
ATTACKS: dict[str, Make] = {
    "expand": lambda: one("Expand", ints("s", FAR, 1, 1, 1)),
    "expand_negative": lambda: one("Expand", ints("s", -5, 3, 8, 8)),
    "expand_nothing": lambda: one("Expand", ints("s", 0, 2**62, 2**62, 1, 1, 1, 1)),
    "expand_known": lambda: beside("Expand", known("c0", ONES), ints("s", FAR, 8)),
    "expand_often": lambda: model_of(
        [node("Expand", ["x", f"s{n}"], [f"e{n}"]) for n in range(24)]
        + [node("Sum", [f"e{n}" for n in range(24)], ["y"])],
        (1, 1), tuple(ints(f"s{n}", 2**n, 2 ** (24 - n)) for n in range(24)),
    ),
    "tile": lambda: one("Tile", ints("s", FAR, 1, 1, 1)),
    "tile_all": lambda: one("Tile", ints("s", 256, 256, 256, 256)),
    "fill_often": lambda: many("ConstantOfShape", 2000, ints("s", 2**24)),
    "outer_often": lambda: many(
        "Add", 300, known("a", np.ones((4096, 1), "f4")), known("b", np.ones((1, 4096), "f4"))
    ),
    "outer_of_nothing": lambda: beside(
        "MatMul", known("a", np.zeros((2**16, 0), "f4")), known("b", np.zeros((0, 2**16), "f4"))
    ),
    "reduce_nothing": lambda: model_of(
        [node("ReduceMax", ["x", "a"], ["y"])], (1, 0, 2**15, 2**15), (ints("a", 1),)
    ),
    "nothing_large": lambda: model_of([node("Relu", ["x"], ["y"])], (0, 3, 2**30, 2**30)),
    "range": lambda: beside("Range", known("a", 0), known("b", FAR), known("s", 1)),
    "range_still": lambda: beside("Range", known("a", 0), known("b", FAR), known("s", 0)),
    "range_nan": lambda: beside(
        "Range", known("a", np.float32("nan")), known("b", np.float32(5)), known("s", np.float32(1))
    ),
    "range_of_nothing": lambda: beside(
        "Range", known("a", NOTHING), known("b", NOTHING), known("s", NOTHING)
    ),
    "pad": lambda: one("Pad", ints("p", *[FAR] * 8)),
    "pad_all": lambda: one("Pad", ints("p", *[2**19] * 8)),
    "pad_odd": lambda: beside("Pad", known("c0", np.ones((1, 1), np.float32)), ints("p", 1, 2, 3)),
    "pad_infinite": lambda: one(
        "Pad", ints("p", 0, 0, 1, 1, 0, 0, 1, 1), known("v", np.float32(-np.inf)),
        shape=(1, 1, 2**15, 2**16),
    ),
    "resize": lambda: resized([1, 1, 1e6, 1e6], mode="linear"),
    "resize_nan": lambda: resized(
        [1, 1, 1, np.nan], coordinate_transformation_mode="align_corners"
    ),
    "resize_symmetric_nan": lambda: resized(
        [1, 1, 1, np.nan], coordinate_transformation_mode="half_pixel_symmetric"
    ),
    "resize_twice": lambda: model_of(
        [node("Resize", ["x", "", "", "s"], ["y"], axes=[2, 2])], initial=(ints("s", 3, 4),)
    ),
    "resize_aspect": lambda: model_of(
        [node("Resize", ["x", "", "", "s"], ["y"], keep_aspect_ratio_policy="not_smaller",
              axes=[2, 3])],
        initial=(ints("s", 3, 2**61),),
    ),
    "axes": lambda: one("Unsqueeze", ints("a", *range(4, 60))),
    "axes_known": lambda: beside("Reshape", known("c0", ONES), ints("s", *[1] * 40)),
    "groups": lambda: one(
        "GroupNormalization", known("s", ONES), known("b", ONES), shape=(*WIDE, 1), num_groups=1
    ),
    "lines": lambda: one("LayerNormalization", known("s", ONES), shape=WIDE, axis=1),
    "hardmax": lambda: one("Hardmax", shape=WIDE, axis=1),
    "blocks": lambda: one(
        "QuantizeLinear", known("s", np.ones((1, 3, 8, 8), "f4")), block_size=FAR
    ),
    "operands": lambda: model_of([node("Concat", ["x"] * 20_000, ["y"], axis=1)]),
    "strings": lambda: one("Add", TensorProto(name="q", data_type=8, dims=[1], string_data=[b"a"])),
    "word_for_number": lambda: one("LeakyRelu", alpha="a"),
    "number_for_list": lambda: one("Transpose", perm=3),
    "graph_for_number": lambda: one("LeakyRelu", alpha=helper.make_graph([], "g", [], [])),
    "sparse": sparse,
    "if": lambda: branching("If", "then_branch", "else_branch"),
    "loop": lambda: branching("Loop", "body"),
    "deep_functions": lambda: chain(200),
}  # fmt: skip


@pytest.mark.parametrize("make", ATTACKS.values(), ids=ATTACKS.keys())
def test_attacks(make: Make) -> None:
    data = make().SerializeToString()
    start = time.thread_time()
    with pytest.raises(UserError):
        cnnc.onnx.load(data)
    assert time.thread_time() - start < LONGEST


@pytest.mark.parametrize("more", [{"offset": "-1"}, {"length": "-4"}, {"length": str(2**70)}])
def test_places_outside_of_a_file(tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(432))
    (tmp_path / "m.onnx").write_bytes(external("w.bin", **more).SerializeToString())
    with pytest.raises(UserError, match="E0901"):
        cnnc.onnx.load(tmp_path / "m.onnx")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """Nobody would ever write into it."""
    os.mkfifo(tmp_path / "w.bin")
    (tmp_path / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    with pytest.raises(UserError, match="E0701"):
        cnnc.onnx.load(tmp_path / "m.onnx")
