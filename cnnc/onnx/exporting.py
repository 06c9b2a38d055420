"""A network as an ONNX file."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cnnc.api import Model
from cnnc.base.errors import InternalError, fail
from cnnc.files import replace_file
from cnnc.ir.graph import Graph, Parameter
from cnnc.onnx.reading import need_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST = 2**31 - 2**20
"""Bytes of weights that a file holds; protobuf takes no message of 2 GiB."""
LEAST = 1024
"""Bytes of a tensor that is worth a place in the second file."""


def export(model: Model, path: str | os.PathLike[str] | None = None) -> "ModelProto":
    """The network as an ONNX model, written to `path` if one is given, whole or not at all.

    Opset 21. Inputs, outputs and layers keep their names, weights are initialisers called by their
    paths, and a batch that is a range is the dimension `N`. Weights of 2 GiB and more lie beside
    the file, in `path` with `.data` behind it. The model passes ONNX's checker. UserError where
    the network has no weights, the package `onnx` is missing or the file cannot be written.
    """
    need_onnx()
    _check_weights(model.graph)
    # after the package is known to be there
    from onnx import checker

    from cnnc.onnx.emit.model import onnx_model

    made = onnx_model(model.graph)
    is_large = _weights_bytes(model.graph) > LARGEST
    try:
        if not is_large:
            checker.check_model(made, full_check=True)
    except checker.ValidationError as error:
        raise InternalError(str(error), stage="export") from error
    if path is not None:
        _write(made, Path(path), is_large=is_large)
    return made


def _check_weights(graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.op, Parameter):
            raise fail(
                "E0408",
                f"`{node.name}` has no values, because the network was loaded without weights",
                node.span,
                help="load it with weights",
            )


def _weights_bytes(graph: Graph) -> int:
    return sum(node.type.bytes for node in graph.nodes if node.is_constant)


def _write(model: "ModelProto", path: Path, *, is_large: bool) -> None:
    if not is_large:
        replace_file(path, model.SerializeToString())
        return
    from onnx import checker, save_model

    data = f"{path.name}.data"
    try:
        with tempfile.TemporaryDirectory(prefix=".cnnc-", dir=path.parent) as folder:
            whole = Path(folder, path.name)
            save_model(
                model, whole, save_as_external_data=True, location=data, size_threshold=LEAST
            )
            checker.check_model(str(whole))
            _replace_both(whole, path, data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("E0704", f"`{path}` cannot be written", notes=(reason,)) from None


def _replace_both(made: Path, path: Path, data: str) -> None:
    """Put a model and its data in place; no model is ever beside the data of another."""
    before = made.with_name("before")
    if path.exists():
        os.replace(path, before)
    try:
        os.replace(made.with_name(data), path.with_name(data))
    except OSError:
        if before.exists():
            os.replace(before, path)
        raise
    os.replace(made, path)
