"""ONNX models as files: a text that a person can read, and its weights."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.numpy import save

from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.files import named_path, replace_file
from cnnc.onnx.flat import FlatNet, Mapped
from cnnc.onnx.loading import read_flat
from cnnc.onnx.reporting import reported
from cnnc.onnx.reroll.rolled import Rolled, roll
from cnnc.onnx.text import KEYWORDS, identifier
from cnnc.onnx.tidy import fold_batchnorms, tidy

if TYPE_CHECKING:
    from onnx import ModelProto

GENERIC = frozenset(
    {"main_graph", "torch_jit", "torch_jit_export", "torch-jit-export", "tf2onnx", "CNTKGraph", ""}
)
"""What exporters call every graph; the file's name says more."""


@record
class Imported:
    """The files that were written, what is in them, and what became of each node of the model."""

    path: Path
    weights: Path | None
    rolled: Rolled
    net: FlatNet
    report: tuple[Mapped, ...]


def import_model(
    given: "str | os.PathLike[str] | bytes | ModelProto",
    folder: str | os.PathLike[str],
    dims: Mapping[str, int] | None = None,
    *,
    name: str | None = None,
    fold_batchnorm: bool = False,
    keep_names: bool = False,
    force: bool = False,
) -> Imported:
    """Write an ONNX model into the folder, as `NAME.cnn` and `NAME.safetensors`.

    `dims` binds the extents that the model leaves open. The files are called as the model's file,
    or as `name` says. Batchnorms stay what they are, unless `fold_batchnorm` makes them part of the
    layers before them. Weights are called by their paths in the text; with `keep_names` by those of
    the model, and the text renames them. UserError with every node that cnnc cannot take, where a
    file cannot be written, or where one of this name holds something else, unless `force` is set.
    """
    where = named_path(os.fspath(folder), "folder")
    net = read_flat(given, dims)
    if name is None:
        name = Path(given).stem if isinstance(given, str | os.PathLike) else net.name
    if net.name in GENERIC:
        net = replace(net, name=identifier(name, KEYWORDS))
    return write_net(
        net, where, name, fold_batchnorm=fold_batchnorm, keep_names=keep_names, force=force
    )


def write_net(
    net: FlatNet,
    folder: Path,
    name: str,
    *,
    fold_batchnorm: bool,
    keep_names: bool,
    keep_weights: bool = False,
    dropped: Sequence[str] = (),
    force: bool = False,
) -> Imported:
    """Write a flat net as the files of this name; see `import_model`, `tidy` and `roll`."""
    net = tidy(net, keep_weights=keep_weights)
    if fold_batchnorm:
        net = fold_batchnorms(net)
    stem = identifier(name, KEYWORDS)
    rolled = roll(net, f"{stem}.safetensors", keep_names=keep_names, dropped=dropped)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("E0704", f"the folder `{folder}` cannot be made", notes=(reason,)) from None
    path, weights = folder / f"{stem}.cnn", folder / f"{stem}.safetensors"
    files = {path: rolled.text.encode()}
    if rolled.arrays:
        held = save({key: rolled.arrays[key] for key in sorted(rolled.arrays)})
        files = {weights: held, **files}  # first: the text needs them
    for each, data in files.items():
        if not force and _holds_other(each, data):
            help = "write into another folder, or say --force (in Python `force=True`)"
            raise fail("E0704", f"`{each}` is there, and holds something else", help=help)
    for each, data in files.items():
        replace_file(each, data)
    return Imported(path, weights if rolled.arrays else None, rolled, net, reported(net))


def _holds_other(path: Path, data: bytes) -> bool:
    try:
        return path.exists() and (path.stat().st_size != len(data) or path.read_bytes() != data)
    except OSError:
        return True
