"""Modules of PyTorch as text of the language."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnc.base.errors import Diagnostic, UserError
from cnnc.onnx.flat import FlatNet
from cnnc.onnx.importing import Imported, write_net
from cnnc.onnx.reroll.names import KEYWORDS
from cnnc.onnx.reroll.rolled import roll
from cnnc.onnx.text import identifier
from cnnc.onnx.tidy import tidy
from cnnc.onnx.values import RefusedError
from cnnc.torch.convert import convert, refused_nodes
from cnnc.torch.module import as_arguments, captured_module
from cnnc.torch.running import listed


def to_flat(module: Any, example_inputs: Any, kwargs: Mapping[str, Any] | None = None) -> FlatNet:
    """A module as a flat net whose arrays are called as its `state_dict` calls them.

    They share the memory of its parameters. Results that are no tensors are left out. UserError
    with all that cnnc cannot take.
    """
    captured = captured_module(module, as_arguments(example_inputs), kwargs)
    if refused := refused_nodes(captured):
        raise listed(refused)
    known, calls = captured.known, captured.calls
    inputs = [each for each in captured.inputs if each not in known]
    outputs = [each for each in captured.outputs if hasattr(each, "op")]
    name = type(module).__name__
    try:
        net = convert(captured, name, inputs, calls, list(dict.fromkeys(outputs)))
    except RefusedError as error:
        why = f"cnnc cannot take {name}: {error.why}"
        raise UserError([Diagnostic("E0902", why)]) from None
    return net


def to_text(module: Any, example_inputs: Any, kwargs: Mapping[str, Any] | None = None) -> str:
    """A module as a program that a person can read.

    It names `NAME.safetensors` after the module's class, a file with its `state_dict`, as `write`
    makes it. UserError with all that cnnc cannot take.
    """
    net = tidy(to_flat(module, example_inputs, kwargs), keep_weights=True)
    stem = identifier(net.name, KEYWORDS)
    return roll(net, f"{stem}.safetensors", keep_names=True).text


def write(
    module: Any,
    example_inputs: Any,
    folder: str | os.PathLike[str],
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    fold_batchnorm: bool = False,
    keep_names: bool = True,
) -> Imported:
    """Write a module into the folder, as `NAME.cnn` and `NAME.safetensors`.

    Weights keep the names of the module's `state_dict`, and the text renames them; without
    `keep_names` they are called by their paths in the text. Files are called after the module's
    class, or as `name` says. UserError with all that cnnc cannot take, or where a file cannot be
    written.
    """
    net = to_flat(module, example_inputs, kwargs)
    stem = identifier(name or net.name, KEYWORDS)
    net = replace(net, name=stem)
    return write_net(
        net, Path(folder), stem,
        fold_batchnorm=fold_batchnorm, keep_names=keep_names, keep_weights=True,
    )  # fmt: skip
