"""Damaged and adversarial models: a network or a UserError, in bounded time and memory."""

import contextlib
import os
import resource
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnnc.onnx
from cnnc.base.errors import UserError
from cnnc.onnx.loading import read_flat
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.tidy import tidy
from tests.onnx.random_models import random_model

MUTATIONS = int(os.environ.get("CNNC_ONNX_MUTATIONS", "5000"))
SHARDS = 4
LONGEST = 5.0
"""CPU seconds for one model at most; all are small."""
MOST_RUN = 2**20
"""Elements of all values of a model that is run; a change may make it large."""
MOST_MEMORY = 600 * 2**20
"""Bytes by which the process may have grown at most."""

INTERESTING = (0, 1, 2**7, 2**8 - 1, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64 - 1)


def varint(value: int) -> bytes:
    """A number as protobuf has it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with a few changes."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(made)))
        match int(rng.integers(6)):
            case 0:
                made[at] ^= 1 << int(rng.integers(8))
            case 1:
                made[at] = int(rng.integers(256))
            case 2:
                made[at:at] = varint(INTERESTING[int(rng.integers(len(INTERESTING)))])
            case 3:
                del made[at : at + int(rng.integers(1, 9))]
            case 4:
                made[at:at] = made[at : at + int(rng.integers(1, 60))]
            case _:
                del made[at + 1 : len(made) if rng.random() < 0.3 else at + 3]
        made = made or bytearray(1)
    return bytes(made)


def distort(data: bytes, rng: np.random.Generator) -> bytes:
    """A model with a few parts changed that still parses."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 4))):
        _change(model, rng)
    return model.SerializeToString()


def _change(message: Any, rng: np.random.Generator) -> None:
    """Something in a message, or in one of its parts."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = fields[int(rng.integers(len(fields)))]
    number = int(rng.choice([-1, 0, 1, 2, 3, 7, 17, 2**31 - 1, 2**62]))
    if field.type == field.TYPE_MESSAGE:
        parts = [*value] if hasattr(value, "add") else [value]
        if hasattr(value, "add") and rng.random() < 0.15:
            _rearrange(value, rng)
        elif parts:
            _change(parts[int(rng.integers(len(parts)))], rng)
        return
    if hasattr(value, "append"):
        _change_list(value, field.type == field.TYPE_INT64, number, rng)
    elif field.type in (field.TYPE_INT64, field.TYPE_INT32, field.TYPE_ENUM):
        _set(message, field.name, number)
    elif field.type == field.TYPE_BYTES:
        _set(message, field.name, value[: int(rng.integers(len(value) + 1))])
    elif field.type == field.TYPE_FLOAT:
        _set(message, field.name, float(rng.choice([0, -1, np.inf, np.nan, 1e38])))
    elif field.type == field.TYPE_STRING:
        _set(message, field.name, str(rng.choice(["", "x0", "Conv", "Reshape", value[:-1]])))


def _change_list(values: Any, are_integers: bool, number: int, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(values)))
    if rng.random() < 0.3:
        del values[place]
    else:
        values[place] = number if are_integers else values[int(rng.integers(len(values)))]


def _set(message: Any, name: str, value: object) -> None:
    with contextlib.suppress(ValueError, TypeError):
        setattr(message, name, value)


def _rearrange(parts: Any, rng: np.random.Generator) -> None:
    """A part twice, away, or in another place."""
    place = int(rng.integers(len(parts)))
    if rng.random() < 0.5:
        parts.add().CopyFrom(parts[place])
    else:
        del parts[place]


def seeds() -> list[bytes]:
    """Small models of many operators, and one with functions."""
    found = [random_model(seed) for seed in range(60)]
    return [each[0].SerializeToString() for each in found if each] + [
        with_function(1).SerializeToString()
    ]


IMPORTED, RUN, COMPILED = 5, 7, 41
"""Every so many of the models that load become text, run, and run as machine code."""


def attempt(data: bytes, number: int = 0) -> bool:
    """Whether it loads; everything but a UserError is an error."""
    try:
        model = cnnc.onnx.load(data)
        if number % IMPORTED == 0:
            roll(tidy(read_flat(data)), "w.safetensors")
        inputs = {
            node.name: np.ones(node.type.shape, node.type.dtype.numpy)
            for node in model.graph.inputs
        }
        if sum(node.type.elements for node in model.graph.nodes) > MOST_RUN:
            return True
        if number % RUN == 0:
            model.reference(inputs)
        if number % COMPILED == 0:
            model.compile()(inputs)
    except UserError:
        return False
    return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shard", range(SHARDS))
def test_mutations(shard: int) -> None:
    rng = np.random.default_rng(shard)
    models = seeds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loaded = 0
    for number in range(MUTATIONS // SHARDS):
        change = distort if number % 3 else mutate
        data = change(models[number % len(models)], rng)
        start = time.thread_time()
        loaded += attempt(data, number)
        assert time.thread_time() - start < LONGEST, data
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert after - before < MOST_MEMORY
    assert loaded > 0.1 * (MUTATIONS // SHARDS)


def model_of(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...] = (1, 3, 8, 8),
    initial: tuple[onnx.TensorProto, ...] = (),
    output: str = "y",
) -> onnx.ModelProto:
    """A model of one input x and one output."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], list(initial))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_function(depth: int, *, recursive: bool = False) -> onnx.ModelProto:
    """A model whose functions call each other twice, so deep."""
    model = model_of([helper.make_node(f"f{depth}", ["x"], ["y"], domain="own")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    last = "f1" if recursive else ""
    for number in range(depth + 1):
        inner = f"f{number - 1}" if number else last or "Relu"
        domain = "own" if number or last else ""
        body = [helper.make_node(inner, [a], [b], domain=domain) for a, b in ("xy", "yz")]
        model.functions.append(
            helper.make_function("own", f"f{number}", ["x"], ["z"], body, imports)
        )
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def ints(name: str, *values: int) -> onnx.TensorProto:
    """A list of integers."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def claim(name: str, dims: tuple[int, ...]) -> onnx.TensorProto:
    """A tensor that says it is large, with four bytes of data."""
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, raw_data=b"1234")


def relu(a: str = "x", b: str = "y") -> onnx.NodeProto:
    """A node that does no harm."""
    return helper.make_node("Relu", [a], [b])


def conv_of(weight: onnx.TensorProto, **attributes: object) -> onnx.ModelProto:
    """A convolution with this weight."""
    node = helper.make_node("Conv", ["x", weight.name], ["y"], **attributes)
    return model_of([node], initial=(weight,))


def filled(*shape: int) -> onnx.ModelProto:
    """A constant of this shape, added."""
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    return model_of(nodes, initial=(ints("s", *shape),))


def chained(op: str, count: int) -> onnx.ModelProto:
    """A tensor that grows again and again."""
    names = ["x", *(f"v{n}" for n in range(count - 1)), "y"]
    pairs = pairwise(names)
    nodes = [helper.make_node(op, [a, a], [b], axis=1) for a, b in pairs]
    return model_of(nodes)


WEIGHT = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
ADVERSARIAL: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "cycle": (lambda: model_of([relu("z", "y"), relu("y", "z")]), "nothing before it makes"),
    "own_result": (lambda: model_of([relu("y", "y")]), "nothing before it makes"),
    "missing": (lambda: model_of([relu("nowhere", "y")]), "nothing before it makes"),
    "no_output": (lambda: model_of([relu()], output="z"), "nothing makes the output"),
    "twice": (lambda: model_of([relu(), relu()]), "two tensors"),
    "initial_twice": (lambda: model_of([relu()], initial=(WEIGHT, WEIGHT)), "two tensors"),
    "negative": (lambda: model_of([relu()], (1, -3)), "extent"),
    "huge": (lambda: model_of([relu()], (1, 2**62)), "extent"),
    "large": (lambda: model_of([relu()], (2**30, 2**30)), "its shape is"),
    "open": (lambda: model_of([relu()], ("N", "C")), "leaves extents"),
    "recursive": (lambda: with_function(3, recursive=True), "uses itself"),
    "exponential": (lambda: with_function(40), "more than"),
    "claim": (lambda: conv_of(claim("w", (2**20, 3, 64, 64))), "too little data"),
    "negative_claim": (lambda: conv_of(claim("w", (-1, 3))), "has shape"),
    "overflow": (lambda: conv_of(claim("w", (2**39, 2**39, 2**39))), "too little data"),
    "constant": (lambda: filled(2**20, 2**20), "more than"),
    "negative_constant": (lambda: filled(-5), "E0902"),
    "growing": (lambda: chained("Concat", 60), "elements"),
    "padding": (lambda: conv_of(WEIGHT, pads=[2**40] * 4), "does not take"),
    "stride": (lambda: conv_of(WEIGHT, strides=[0, -1]), "does not take"),
    "groups": (lambda: conv_of(WEIGHT, group=-1), "does not take"),
    "dilation": (lambda: conv_of(WEIGHT, dilations=[2**31, 1]), "does not take"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_adversarial_models(make: Callable[[], onnx.ModelProto], why: str) -> None:
    start = time.thread_time()
    with pytest.raises(UserError, match=why):
        cnnc.onnx.load(make().SerializeToString())
    assert time.thread_time() - start < LONGEST


@pytest.mark.parametrize("data", [b"", b"\0", b"cnn 1\n", b"\x0a" * 4000, bytes(range(64, 128))])
def test_no_model(data: bytes) -> None:
    with pytest.raises(UserError, match="no ONNX model"):
        cnnc.onnx.load(data)


def external(location: str, **more: str) -> onnx.ModelProto:
    """A weight in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(4, 3, 3, 3))
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=value)
    return conv_of(weight)


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("../w.bin", "E0407"), ("/etc/passwd", "E0407"), ("a/../../w.bin", "E0407"),
        ("link.bin", "E0407"), ("c:w.bin", "E0407"), ("", "E0407"), ("a\\..\\..\\w.bin", "E0407"),
        ("nowhere.bin", "E0701"), ("short.bin", "E0901"),
    ],
)  # fmt: skip
def test_files_outside(tmp_path: Path, location: str, code: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(432))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "short.bin").write_bytes(bytes(400))
    (folder / "m.onnx").write_bytes(external(location).SerializeToString())
    with pytest.raises(UserError) as caught:
        cnnc.onnx.load(folder / "m.onnx")
    assert caught.value.diagnostics[0].code == code


@pytest.mark.parametrize(
    "more", [{"offset": "-4"}, {"length": "1"}, {"offset": "x"}, {"offset": str(2**70)}]
)
def test_places_that_are_none(tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(500))
    (tmp_path / "m.onnx").write_bytes(external("w.bin", **more).SerializeToString())
    with pytest.raises(UserError, match="E0901"):
        cnnc.onnx.load(tmp_path / "m.onnx")


def test_files_beside_the_model(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("<f4")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.bin").write_bytes(bytes(16) + weight.tobytes())
    data = external("deep/w.bin", offset="16", length="432").SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    model = cnnc.onnx.load(tmp_path / "m.onnx")
    (constant,) = (node.constant for node in model.graph.nodes if node.is_constant)
    np.testing.assert_array_equal(constant, weight)
    with pytest.raises(UserError, match="E0407"):
        cnnc.onnx.load(data)
