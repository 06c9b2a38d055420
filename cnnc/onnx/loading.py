"""ONNX models as networks of cnnc, without files in between."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnc.api import Model
from cnnc.base.errors import fail
from cnnc.base.source import SourceFile
from cnnc.frontend import load as frontend
from cnnc.onnx.convert import convert
from cnnc.onnx.dimensions import Dimensions
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.reading import read_model
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.text import plain_text
from cnnc.onnx.tidy import tidy

if TYPE_CHECKING:
    from onnx import ModelProto


def read_flat(
    given: "str | os.PathLike[str] | bytes | ModelProto", dims: Mapping[str, int] | None = None
) -> FlatNet:
    """A model as a flat net; UserError with every node that cnnc cannot take.

    `dims` binds the extents that the model leaves open, by their names there.
    """
    model, folder = read_model(given)
    made = convert(model, folder, Dimensions(dims or {}))
    if made.net is None:
        raise fail("E0902", "the model's outputs do not depend on its inputs")
    return made.net


def load(
    given: "str | os.PathLike[str] | bytes | ModelProto", dims: Mapping[str, int] | None = None
) -> Model:
    """Read an ONNX model: a file, its bytes, or the message itself.

    `dims` binds the extents that the model leaves open, by their names there, `input:axis` for one
    without a name; a first extent that is not bound is the batch, 1. Tensors in files of their own
    are read from the model's folder and below. The text is the one that `import_model` writes.
    UserError with every node that cnnc cannot take.
    """
    net = tidy(read_flat(given, dims))
    rolled = roll(net, "weights.safetensors")
    choices = frontend.Choices(batch=net.batch, arrays=rolled.arrays)
    source = SourceFile(f"{rolled.name}.cnn", rolled.text)
    return Model(frontend.load_text(source, None, choices), choices)


def to_model(net: FlatNet) -> Model:
    """The net as one of the language: from its text, with its arrays as weights."""
    text, arrays = plain_text(net)
    choices = frontend.Choices(batch=net.batch, arrays=arrays)
    return Model(frontend.load_text(SourceFile(f"{net.name}.cnn", text), None, choices), choices)
