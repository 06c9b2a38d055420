"""Files of compiled networks: written whole, checked whole, run without compiling.

Such a file holds machine code. Its sums tell damage, not malice: load only files you trust, like
any library or program.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnc import machine
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.base.report import Json
from cnnc.base.target import Target
from cnnc.base.vectors import CheckVectors
from cnnc.container import Bytes, Container, UnsoundError, damaged, open_container, write_container
from cnnc.fields import Fields
from cnnc.files import check_file
from cnnc.interface import End, Interface
from cnnc.ir.types import TensorType
from cnnc.layers import LayerInfo, Layers
from cnnc.options import Options

SUFFIX = ".cnnc"
FORMAT = 2
"""Raised whenever what a file holds, or how its code is called, changes its meaning."""
WHAT = "a compiled network"
Array = NDArray[np.generic]
_NAMES = {
    "triple": r"[\w.-]+",
    "cpu": r"[\w.+-]*",
    "features": r"([+-][\w.-]+(,[+-][\w.-]+)*)?",
}


@record
class Provenance:
    """Where a compiled network comes from; texts, empty where unknown.

    `source` is the name of the text's file, `sha256` that of the text; `settings` the final values
    of its params; `cnnc` and `llvm` are the versions that compiled it (no LLVM for backends other
    than `native`).
    """

    source: str = ""
    sha256: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    cnnc: str = ""
    llvm: str = ""


@record
class Artifact:
    """Everything needed to run a network: see `backends.native.backend.Image` for its code."""

    interface: Interface
    options: Options
    target: Target
    layers: Layers
    checks: tuple[CheckVectors, ...]
    provenance: Provenance
    objects: tuple[bytes, ...]
    weights: Bytes
    arena_bytes: int
    scratch_bytes: int
    is_shared: bool
    is_short: bool


def write_artifact(path: Path, artifact: Artifact) -> None:
    """Write the file; UserError where that fails."""
    check_file(path, SUFFIX)
    blobs: list[bytes | Bytes] = [artifact.weights, *artifact.objects]
    interface, options = artifact.interface, artifact.options
    header: dict[str, Json] = {
        "cnnc": artifact.provenance.cnnc,
        "llvm": artifact.provenance.llvm,
        "source": artifact.provenance.source,
        "source_sha256": artifact.provenance.sha256,
        "settings": dict(artifact.provenance.settings),
        "target_name": options.target,
        "threads": options.threads,
        "target": _target_json(artifact.target),
        "net": interface.name,
        "batch": interface.batch,
        "fewest": interface.batch if interface.fewest is None else interface.fewest,
        "splittable": interface.splittable,
        "inputs": [_end_json(end) for end in interface.inputs],
        "outputs": [_end_json(end) for end in interface.outputs],
        "arena_bytes": artifact.arena_bytes,
        "scratch_bytes": artifact.scratch_bytes,
        "is_shared": artifact.is_shared,
        "is_short": artifact.is_short,
        "objects": len(artifact.objects),
        "layers": [layer.to_json() for layer in artifact.layers],
        "checks": [_check_json(check, blobs) for check in artifact.checks],
    }
    write_container(path, FORMAT, header, blobs)


def read_artifact(path: Path) -> Artifact:
    """What the file holds; UserError where it is not sound or not for this machine."""
    artifact, fill = open_artifact(path)
    fill()
    return artifact


def open_artifact(path: Path) -> tuple[Artifact, Callable[[], None]]:
    """The same before its weights are read to where they shall lie, and what reads them."""
    container = open_container(path, FORMAT, WHAT)
    try:
        artifact = _read(container)
    except UnsoundError as error:
        raise damaged(path, str(error)) from None
    obstacles = machine.obstacles(artifact.target)
    if obstacles:
        raise fail(
            "E0801",
            f"`{path}` is compiled for another machine",
            notes=obstacles,
            help="compile it on this machine, or for a `--target` that both belong to",
        )
    return artifact, container.fill


def _read(container: Container) -> Artifact:
    fields = Fields(container.header)
    objects = fields.count("objects")
    blobs = container.blobs
    if not 0 < objects < len(blobs):
        raise UnsoundError("it holds no code")
    batch, fewest = fields.count("batch"), fields.count("fewest")
    interface = Interface(
        fields.text("net"),
        batch,
        tuple(_end(each) for each in fields.rows("inputs")),
        tuple(_end(each) for each in fields.rows("outputs")),
        fields.flag("splittable"),
        fewest if fewest < batch else None,
    )
    threads = fields.count("threads")
    ends_fit = all(end.type.shape[:1] == (batch,) for end in interface.inputs)
    if not (batch and fewest and threads and interface.inputs and interface.outputs):
        raise UnsoundError("it has no inputs or outputs")
    if interface.splittable and not ends_fit:
        raise UnsoundError("its inputs do not fit its batch")
    return Artifact(
        interface=interface,
        options=Options(fields.text("target_name"), "native", min(threads, 1024)),
        target=_target(fields.row("target")),
        layers=Layers(tuple(each.fill(LayerInfo) for each in fields.rows("layers"))),
        checks=tuple(_check(each, blobs, interface) for each in fields.rows("checks")),
        provenance=Provenance(
            fields.text("source"),
            fields.text("source_sha256"),
            tuple(fields.row("settings").texts()),
            fields.text("cnnc"),
            fields.text("llvm"),
        ),
        objects=tuple(blob.tobytes() for blob in blobs[1 : 1 + objects]),
        weights=blobs[0],
        arena_bytes=fields.count("arena_bytes"),
        scratch_bytes=fields.count("scratch_bytes"),
        is_shared=fields.flag("is_shared"),
        is_short=fields.flag("is_short"),
    )


def _target_json(target: Target) -> Json:
    return {name: getattr(target, name) for name in Target.__dataclass_fields__}


def _target(fields: Fields) -> Target:
    """The machine, if LLVM can be told its names: other texts end the process."""
    target = fields.fill(Target)
    for name, form in _NAMES.items():
        if not re.fullmatch(form, getattr(target, name)):
            raise UnsoundError(f"its header has no sound `{name}`")
    return target


def _end_json(end: End) -> Json:
    return {
        "name": end.name,
        "dtype": str(end.type.dtype),
        "shape": list(end.type.shape),
        "channels_last": end.channels_last,
    }


def _end(fields: Fields) -> End:
    kind = TensorType.plain(fields.shape("shape"), fields.dtype("dtype"))
    return End(fields.text("name"), kind, channels_last=fields.flag("channels_last"))


def _check_json(check: CheckVectors, blobs: list[bytes | Bytes]) -> Json:
    """The arrays' places among the blobs, where they are put."""

    def put(name: str, array: Array) -> Json:
        blobs.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        shape: list[Json] = [*array.shape]
        return {"name": name, "dtype": array.dtype.str, "shape": shape, "blob": len(blobs) - 1}

    return {
        "atol": check.atol,
        "rtol": check.rtol,
        "inputs": [put(name, array) for name, array in check.inputs.items()],
        "outputs": [put(name, array) for name, array in check.outputs.items()],
    }


def _check(fields: Fields, blobs: tuple[Bytes, ...], net: Interface) -> CheckVectors:
    def arrays(key: str, ends: tuple[End, ...]) -> dict[str, Array]:
        shapes = {end.name: end.type.shape for end in ends}
        found = {each.text("name"): _array(each, blobs) for each in fields.rows(key)}
        for name, array in found.items():
            expected = shapes.get(name, ())
            if not expected or array.shape[1:] != expected[1:] or not array.size:
                raise UnsoundError("a check does not fit the inputs and outputs")
        return found

    inputs, outputs = arrays("inputs", net.inputs), arrays("outputs", net.outputs)
    if len({len(array) for array in (*inputs.values(), *outputs.values())}) != 1:
        raise UnsoundError("the arrays of a check differ in how many samples they have")
    return CheckVectors(inputs, outputs, fields.number("atol"), fields.number("rtol"))


def _array(fields: Fields, blobs: tuple[Bytes, ...]) -> Array:
    place, shape = fields.count("blob"), fields.shape("shape")
    try:
        dtype = np.dtype(fields.text("dtype"))
        if dtype.kind not in "biuf":
            raise ValueError
        return blobs[place].view(dtype).reshape(shape)
    except (IndexError, TypeError, ValueError):
        raise UnsoundError("an array of a check does not fit its blob") from None
