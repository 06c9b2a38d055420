"""Models with their channels last, in the form in which tf2onnx writes those of Keras."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import cnnc
import cnnc.onnx
from cnnc.onnx.importing import Imported
from cnnc.onnx.loading import read_flat, to_model
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.tidy import tidy
from tests.onnx.random_layouts import Models
from tests.onnx.runtime import apart, run_onnx

TOLERANCE = 1e-5
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class Keras:
    """Nodes one after the other, each named as tf2onnx does."""

    def __init__(self, shape: Sequence[int], kind: int = TensorProto.FLOAT) -> None:
        self.shape, self.kind = shape, kind
        self.nodes: list[object] = []
        self.arrays: list[TensorProto] = []
        self.random = np.random.default_rng(0)
        self.x = "image"

    def add(self, op: str, *given: object, x: str | None = None, **attributes: object) -> str:
        """One node; arrays among its operands are weights, and sizes weights to be drawn."""
        names = [self.x if x is None else x]
        names += [each if isinstance(each, str) else self.keep(each, op) for each in given]
        last = {"Conv": "Conv2D", "ConvTranspose": "conv_transpose"}.get(op, op)
        name = f"model/{op.lower()}_{len(self.nodes)}/{last}"
        self.nodes.append(helper.make_node(op, names, [f"{name}:0"], name=name, **attributes))
        self.x = f"{name}:0"
        return self.x

    def keep(self, given: object, op: str) -> str:
        """A weight."""
        if isinstance(given, tuple):
            given = (self.random.normal(size=given) / 3).astype(np.float32)
        name = f"model/{op.lower()}_{len(self.nodes)}/ReadVariableOp_{len(self.arrays)}:0"
        self.arrays.append(numpy_helper.from_array(np.asarray(given), name))
        return name

    def model(self, *outputs: str) -> ModelProto:
        """The model; its outputs are the last node's unless others are given."""
        graph = helper.make_graph(
            self.nodes,
            "tf2onnx",
            [helper.make_tensor_value_info("image", self.kind, self.shape)],
            [
                helper.make_tensor_value_info(each, TensorProto.FLOAT, None)
                for each in outputs or (self.x,)
            ],
            self.arrays,
        )
        opset = [helper.make_opsetid("", 13)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="tf2onnx")


def ints(*values: int) -> np.ndarray:
    """Whole numbers as ONNX wants them."""
    return np.array(values, np.int64)


def imported(model: ModelProto, folder: Path, dims: dict[str, int] | None = None) -> Imported:
    """The model as text, which computes what ONNX Runtime does."""
    made = cnnc.onnx.import_model(model, folder, dims, name="keras")
    loaded = cnnc.load(made.path)
    inputs = {}
    for each, node in zip(model.graph.input, loaded.graph.inputs, strict=True):
        random = np.random.default_rng(1)
        is_byte = each.type.tensor_type.elem_type == TensorProto.UINT8
        x = (
            random.integers(0, 256, node.type.shape)
            if is_byte
            else random.normal(size=node.type.shape)
        )
        inputs[each.name] = x.astype(np.uint8 if is_byte else np.float32)
    wanted = run_onnx(model, inputs)
    names = dict(zip(inputs, loaded.inputs, strict=True))
    found = loaded.compile()({names[name]: x for name, x in inputs.items()})
    for one, two in zip(wanted.values(), found.values(), strict=True):
        assert apart(one, two) < TOLERANCE
    direct = cnnc.onnx.load(model, dims)
    assert [layer.name for layer in direct.graph.nodes] == [x.name for x in loaded.graph.nodes]
    return made


def body(made: Imported) -> str:
    """The text without its weights."""
    return made.rolled.text


def test_an_image_through_convolutions_to_dense_layers(tmp_path: Path) -> None:
    """The input has its channels last; what is flattened is turned in the dense layer's weights."""
    net = Keras((1, 8, 8, 3))
    net.add("Mul", np.float32(1 / 255))
    net.add("Add", np.float32(0))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (4, 3, 3, 3), (4,), pads=[1, 1, 1, 1])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Transpose", perm=LAST)
    net.add("Reshape", ints(-1, 64))
    net.add("MatMul", (64, 5))
    net.add("Add", (5,))
    net.add("Relu")
    net.add("MatMul", (5, 2))
    made = imported(net.model(), tmp_path)
    assert "input image: f32[N, 8, 8, 3] { layout = nhwc, scale = 1 / 255 }" in body(made)
    assert "-> flatten\n" in body(made)
    assert "transpose" not in body(made)
    assert "conv_3: conv(4, 3, pad = 1)" not in body(made)  # it would be called so anyway
    became = {each.node.rpartition("/")[2]: each.became for each in made.report[:8]}
    assert became["Mul"] == became["Add"] == "part of `preprocess`"
    assert became["Transpose"] == "nothing (layout)"
    assert made.report[8].became == "`dense` (columns as channels come first)"


def test_everything_in_the_exporters_layout(tmp_path: Path) -> None:
    """Biases, activations, padding, concat, means and softmax with channels last."""
    net = Keras((1, 9, 8, 3))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (4, 3, 3, 3))
    net.add("Transpose", perm=LAST)
    first = net.add("Add", (4,))
    net.add("Pad", ints(0, 1, 0, 0, 0, 0, 1, 0))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (4, 4, 2, 2))
    net.add("Transpose", perm=LAST)
    net.add("Add", (1, 1, 1, 4))
    net.add("Concat", first, axis=-1)
    joined = net.add("Softmax", axis=3)
    net.add("Slice", ints(1), ints(3), ints(3))
    net.add("ReduceMean", axes=[1, 2], keepdims=0)
    net.add("MatMul", (2, 3))
    last = net.add("ReduceMax", x=joined, axes=[1, 2], keepdims=1)
    made = imported(net.model(net.nodes[-2].output[0], last), tmp_path)  # type: ignore[attr-defined]
    text = body(made)
    assert "transpose" not in text
    assert "pad = " in text
    assert "pad(" not in text
    assert "-> softmax\n" in text
    assert "pool(avg, global)" in text
    assert text.count("conv(4") == 2
    assert "tensor(" not in text


def test_series(tmp_path: Path) -> None:
    """Convolutions of series are those of images of one row in TensorFlow."""
    net = Keras((1, 16, 4))
    net.add("Unsqueeze", ints(1))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (6, 4, 1, 3), pads=[0, 1, 0, 1])
    net.add("Squeeze", ints(2))
    net.add("Add", (1, 6, 1))
    net.add("Mul", (1, 6, 1))
    net.add("Add", (1, 6, 1))
    net.add("Relu")
    net.add("Unsqueeze", ints(2))
    net.add("MaxPool", kernel_shape=[1, 2], strides=[1, 2])
    net.add("Squeeze", ints(2))
    net.add("GlobalAveragePool")
    net.add("Squeeze", ints(2))
    net.add("Softmax", axis=-1)
    text = body(imported(net.model(), tmp_path))
    assert "f32[N, 16, 4] { layout = nlc }" in text
    for part in ("conv(6, 3, pad = 1)\n", "pool(max, 2)", "pool(avg, global)", "flatten"):
        assert part in text
    for part in ("reshape", "transpose", "tensor(", "[1, "):
        assert part not in text


def test_features_become_images(tmp_path: Path) -> None:
    """Rows of the dense layer are turned; factors and offsets of channels are a batchnorm."""
    net = Keras((1, 7))
    net.add("MatMul", (7, 3 * 2 * 4))
    net.add("Add", (24,))
    net.add("Reshape", ints(-1, 3, 2, 4))
    net.add("Mul", (4,))
    net.add("Add", (4,))
    net.add("LeakyRelu", alpha=0.3)
    net.add("Transpose", perm=FIRST)
    net.add("ConvTranspose", (4, 1, 3, 3), strides=[2, 2])
    net.add("Add", (1, 1, 1, 1))
    made = imported(net.model(), tmp_path)
    text = body(made)
    assert "reshape([0, 4, 3, 2])" in text
    assert "batchnorm" in text
    assert "transpose(" not in text.replace("conv_transpose(", "")
    assert "bias = false" not in text
    assert "`dense` (rows as channels come first)" in {each.became for each in made.report}


def test_squeeze_and_excitation_with_a_residual(tmp_path: Path) -> None:
    """The input is read twice, and gates are broadcast over maps with channels last."""
    net = Keras((1, 6, 6, 4))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (4, 4, 3, 3), pads=[1, 1, 1, 1])
    maps = net.add("Transpose", perm=LAST)
    net.add("ReduceMean", axes=[1, 2], keepdims=0)
    net.add("MatMul", (4, 4))
    net.add("Sigmoid")
    net.add("Reshape", ints(-1, 1, 1, 4))
    gated = net.add("Mul", maps)
    net.add("Add", gated, x="image")
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (2, 4, 1, 1))
    net.add("GlobalMaxPool")
    net.add("Flatten", axis=1)
    text = body(imported(net.model(), tmp_path))
    assert "{ layout = nhwc }" in text
    assert "transpose" not in text


def test_upsampling_and_matrices(tmp_path: Path) -> None:
    """Copies along new axes are a resize, products of the channels convolutions."""
    net = Keras((1, 4, 5, 3))
    net.add("MatMul", (3, 8))
    net.add("Add", (8,))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (8, 8, 1, 1))
    net.add("Unsqueeze", ints(3))
    net.add("Tile", ints(1, 1, 1, 2, 1))
    net.add("Transpose", perm=[0, 2, 3, 4, 1])
    net.add("Reshape", ints(-1, 8, 5, 8))
    net.add("Unsqueeze", ints(3))
    net.add("Tile", ints(1, 1, 1, 2, 1))
    net.add("Reshape", ints(-1, 8, 10, 8))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (2, 8, 3, 3))
    text = body(imported(net.model(), tmp_path))
    assert "resize(nearest, scale = 2.0)" in text
    for part in ("transpose(", "reshape(", "concat", "matmul("):
        assert part not in text
    assert text.count("conv(8, 1") == 2


def test_names_are_those_of_layers(tmp_path: Path) -> None:
    """Scopes and operations go; layers that tf2onnx made are called after their weights."""
    net = Keras((1, 3, 6, 6))
    net.add("Conv", (4, 3, 3, 3))
    net.add("Relu")
    net.add("Conv", (5, 4, 3, 3))
    net.nodes[0].name = "model_1.0/stem/Conv2D"  # type: ignore[attr-defined]
    net.nodes[2].name = "Conv__12"  # type: ignore[attr-defined]
    for place, name in enumerate(("model_1.0/stem/w:0", "model_1.0/head/merged_input:0")):
        net.nodes[2 * place].input[1] = net.arrays[place].name = name  # type: ignore[attr-defined]
    made = imported(net.model(), tmp_path)
    assert {"stem.weight", "head.weight"} == {*made.rolled.arrays}


def test_what_has_nothing_to_gain_stays(tmp_path: Path) -> None:
    """A transposition that cannot go is where the model has it."""
    net = Keras((1, 2, 4, 6))
    net.add("Conv", (3, 2, 1, 1))
    net.add("Transpose", perm=LAST)
    net.add("Relu")
    text = " ".join(body(imported(net.model(), tmp_path)).split())
    assert "-> transpose([0, 2, 3, 1]) -> relu" in text


def test_weights_can_be_kept() -> None:
    """Where another writes the file of weights, no array changes."""
    net = Keras((1, 4, 6, 2))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (3, 2, 1, 1))
    net.add("Mul", (1, 3, 1, 1))
    net.add("Transpose", perm=LAST)
    net.add("Reshape", ints(1, 72))
    net.add("MatMul", (72, 4))
    flat = read_flat(net.model())
    kept = tidy(flat, keep_weights=True)
    assert {*kept.arrays} == {*flat.arrays}
    assert all(kept.arrays[key] is array for key, array in flat.arrays.items())
    assert _moves(tidy(flat)) == 0
    assert _moves(kept) == 2


@pytest.mark.parametrize("batch", [1, 3])
def test_batches(batch: int, tmp_path: Path) -> None:
    """The extent that is left open stays so."""
    net = Keras(("N", 4, 6, 2))
    net.add("Transpose", perm=FIRST)
    net.add("Conv", (3, 2, 1, 1))
    net.add("Transpose", perm=LAST)
    net.add("Reshape", ints(0, 24, 3))
    net.add("Softmax", axis=-1)
    imported(net.model(), tmp_path, {"N": batch})


@pytest.mark.parametrize("part", range(10))
def test_random_models(part: int) -> None:
    """Whatever is turned, joined, cut and reduced: the tidy net computes what the model does."""
    fewer = 0
    for seed in range(30 * part, 30 * part + 30):
        net = read_flat(Models(seed).model())
        made = tidy(net)
        before, after = to_model(net), to_model(made)
        random = np.random.default_rng(seed)
        xs = [
            random.normal(size=each.type.shape).astype(np.float32) for each in before.graph.inputs
        ]
        wanted = before.reference(dict(zip(before.inputs, xs, strict=True)))
        found = after.reference(dict(zip(after.inputs, xs, strict=True)))
        for one, two in zip(wanted.values(), found.values(), strict=True):
            assert apart(one, two) < 1e-4, seed
        fewer += _moves(net) > _moves(made)
        if seed % 6 == 0:
            roll(made, "w.safetensors")
    assert fewer > 0


def _moves(net: object) -> int:
    return sum(stage.op == "transpose" for stage in net.stages)  # type: ignore[attr-defined]
