"""What is handed to `cnnc.onnx_backend`: inputs, paths, nodes; and files that tensors lie in."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import cnnc.onnx
import cnnc.onnx_backend as backend
from cnnc.base.errors import UserError
from tests.onnx.test_meaning import X, node_model

SCALE = {"s": np.float32([2])}


def with_default() -> onnx.ModelProto:
    """x * s, where s has a value unless another one is given."""
    model = node_model("Mul", ["x", "s"], ["N", 3], known=SCALE)
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, [1]))
    return model


def code_of(call: Any) -> str:
    """The code of the error that it raises."""
    with pytest.raises(UserError) as caught:
        call()
    return caught.value.diagnostics[0].code


def test_an_initializer_that_is_fed() -> None:
    made = backend.prepare(with_default(), backend="reference")
    x, factor = np.ones((2, 3), np.float32), np.float32([5])
    assert made.run([x])[0][0, 0] == 2
    assert made.run({"x": x, "s": factor})[0][0, 0] == 5
    assert made.run([x, factor])[0][0, 0] == 5
    assert made.run([x])[0][0, 0] == 2


def test_inputs_that_do_not_fit() -> None:
    made = backend.prepare(with_default(), backend="reference")
    x = np.ones((2, 3), np.float32)
    assert code_of(lambda: made.run({"x": x, "other": x})) == "E0603"
    assert code_of(lambda: made.run([x, x, x])) == "E0603"
    assert code_of(lambda: made.run([])) == "E0603"
    assert code_of(lambda: made.run([np.ones((2, 4), np.float32)])) == "E0601"
    assert code_of(lambda: made.run([x[0]])) == "E0601"
    assert code_of(lambda: made.run({"x": x, "s": np.ones(2, np.float32)})) == "E0601"
    assert code_of(lambda: made.run([np.ones((2, 3))])) == "E0602"
    assert code_of(lambda: made.run([["a", "b"]])) == "E0602"
    fixed = node_model("Relu", ["x"], [1, 2])
    assert code_of(lambda: backend.run_model(fixed, [np.ones((7, 2), np.float32)])) == "E0601"


def test_lists_are_arrays() -> None:
    (y,) = backend.run_model(node_model("Relu", ["x"], [1, 2]), [[[-1.0, 2.0]]])
    np.testing.assert_array_equal(y, [[0, 2]])


def test_dims_count_for_compatibility() -> None:
    model = node_model("Flatten", ["x"], ["N", "C"])
    assert backend.is_compatible(model, dims={"C": 3})
    assert not backend.is_compatible(model, dims={"D": 3})
    kernel = {"w": np.ones((1, 3, 3, 3), np.float32)}
    conv = node_model("Conv", ["x", "w"], ["N", "C", 8, 8], known=kernel)
    assert not backend.is_compatible(conv)
    assert backend.is_compatible(conv, dims={"C": 3})


def test_a_path_keeps_its_folder(tmp_path: Path) -> None:
    model = node_model("Mul", ["x", "s"], [1, 3], known=SCALE)
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    made = backend.prepare(tmp_path / "m.onnx", backend="reference")  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.run([np.ones((1, 3), np.float32)])[0], [[2, 2, 2]])


def test_operands_of_a_node_that_are_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (y,) = backend.run_node(node, [X, None, np.float32(0)], backend="reference")
    np.testing.assert_array_equal(y, np.minimum(X, 0))
    assert code_of(lambda: backend.run_node(node, [X])) == "E0603"
    assert code_of(lambda: backend.run_node(node, {"x": X})) == "E0603"


def many_of_one_file(folder: Path, count: int, step: int) -> Path:
    """A model of tensors of 16 MiB that all say they lie in one file."""
    size = 2**22
    model = node_model("Sum", ["x", *(f"w{n}" for n in range(count))], [size])
    for number in range(count):
        weight = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=(size,))
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "w"), ("offset", str(number * step))):
            weight.external_data.add(key=key, value=value)
        model.graph.initializer.append(weight)
    with (folder / "w").open("wb") as file:
        file.truncate(4 * size + count * step)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_tensors_of_one_file_take_no_more_than_it(tmp_path: Path) -> None:
    assert code_of(lambda: cnnc.onnx.load(many_of_one_file(tmp_path, 20, 4))) == "E0901"
    path = many_of_one_file(tmp_path, 20, 0)
    tracemalloc.start()
    try:
        cnnc.onnx.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no such device")
def test_a_device_is_no_model() -> None:
    assert code_of(lambda: cnnc.onnx.load("/dev/zero")) == "E0702"
