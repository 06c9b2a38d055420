"""Texts for any number of samples."""

from collections.abc import Callable
from dataclasses import replace

from cnnc.base.errors import InternalError, UserError
from cnnc.base.source import SourceFile
from cnnc.frontend import load as frontend
from cnnc.onnx.flat import FlatNet, Stage
from cnnc.onnx.reroll.agreement import match
from cnnc.onnx.reroll.names import name_ends
from cnnc.onnx.reroll.rolled import roll


def opened(net: FlatNet, other: Callable[[int], FlatNet]) -> FlatNet:
    """The net with -1 where first extents follow from the number of samples.

    `other` is the net of the same module for another number. The net stays as it is where its text
    would not say the same as the other for that number.
    """
    if all(stage.op != "reshape" for stage in net.stages):
        return net
    try:
        wanted = other(net.batch + 1)
        wanted = replace(wanted, stages=tuple(map(_open, wanted.stages)))
        made = replace(net, stages=tuple(map(_like, net.stages, wanted.stages)))
        source = SourceFile("net.cnn", roll(made, "net.safetensors").text)
        choices = frontend.Choices(batch=wanted.batch, with_weights=False)
        match(name_ends(wanted), frontend.load_text(source, None, choices).graph)
    except (UserError, InternalError):  # the module is for one number of samples
        return net
    return made


def _open(stage: Stage) -> Stage:
    shape = stage.attributes.get("shape")
    if stage.op != "reshape" or not isinstance(shape, tuple) or shape[0] == 0 or -1 in shape:
        return stage
    return replace(stage, attributes={**stage.attributes, "shape": (-1, *shape[1:])})


def _like(stage: Stage, other: Stage) -> Stage:
    """The stage with the other's extents: of one sample, they do not say what follows from it."""
    is_same = stage.op == other.op == "reshape"
    return replace(stage, attributes=other.attributes) if is_same else stage
