"""From a file or message to a model whose parts can be trusted to be there."""

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnc.base.errors import UserError, fail
from cnnc.onnx.flat import Array

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST_FILE = 2**31 - 1
"""Bytes of a model, which is what a protobuf message may have."""
LARGEST_TENSOR = 2**34
"""Bytes of a tensor in a file of its own."""
MOST_NODES = 50_000
DEEPEST = 60
"""Messages within messages."""
MOST_AXES = 16
MOST_INLINED = 10_000
"""Nodes that functions may become."""


def need_onnx() -> None:
    """UserError where the package `onnx` is not installed."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        message = "this needs the Python package `onnx`"
        raise fail("E0802", message, help="install it: `pip install cnnc[onnx]`") from None


def read_model(
    given: "str | os.PathLike[str] | bytes | ModelProto",
) -> "tuple[ModelProto, Path | None]":
    """The model and the folder its tensors may lie in; UserError where it is none."""
    need_onnx()
    from onnx import ModelProto

    if isinstance(given, ModelProto):
        return given, None
    if isinstance(given, bytes):
        return parse_model(given, "the model"), None
    path = Path(given)
    try:
        if path.exists() and not path.is_file():
            raise fail("E0702", f"`{path}` is no regular file")
        if path.stat().st_size > LARGEST_FILE:
            raise fail("E0501", f"`{path}` is larger than {LARGEST_FILE} bytes")
        data = path.read_bytes()
    except FileNotFoundError:
        raise fail("E0701", f"there is no file `{path}`") from None
    except OSError as error:
        raise fail("E0702", f"`{path}` cannot be read", notes=(error.strerror or "",)) from None
    return parse_model(data, f"`{path}`"), path.parent


def parse_model(data: bytes, what: str) -> "ModelProto":
    """The message of these bytes; UserError where they are none."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise malformed(f"{what} is no ONNX model", str(error)) from None
    if not model.HasField("graph"):
        raise malformed(f"{what} is no ONNX model", "it has no graph")
    _check_strings(model, what)
    return model


def _check_strings(message: Any, what: str, depth: int = 0) -> None:
    """UserError where a text is no UTF-8: protobuf gives it as bytes then."""
    if depth > DEEPEST:
        raise malformed(f"{what} is nested too deeply")
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if _is_repeated(value) else (value,):
                _check_strings(each, what, depth + 1)
        elif field.type == field.TYPE_STRING:
            texts = value if _is_repeated(value) else (value,)
            if any(isinstance(each, bytes) for each in texts):
                raise malformed(f"{what} has a name that is no UTF-8 text")


def _is_repeated(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def malformed(message: str, *notes: str) -> UserError:
    """The error for a model that is none."""
    return fail("E0901", message, notes=tuple(note for note in notes if note))


def inline(model: "ModelProto") -> "ModelProto":
    """The model with the nodes of its functions in place of their calls."""
    if not model.functions:
        return model
    _check_functions(model)
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:  # whatever its C++ raises
        raise malformed("the model's functions cannot be inlined", str(error)) from None


def _check_functions(model: "ModelProto") -> None:
    """UserError where functions use themselves, or become too many nodes."""
    known = {(each.domain, each.name, each.overload): each for each in model.functions}
    if len(known) < len(model.functions):
        raise malformed("two functions of the model have one name")
    sizes: dict[tuple[str, str, str], int] = {}

    def size(key: tuple[str, str, str], above: tuple[tuple[str, str, str], ...]) -> int:
        if key in above or len(above) > 50:
            raise malformed(f"the model's function `{key[1]}` uses itself, or is nested too deeply")
        if key not in sizes:
            total = 0
            for node in known[key].node:
                inner = (node.domain, node.op_type, node.overload)
                total += size(inner, (*above, key)) if inner in known else 1
            sizes[key] = total
        return sizes[key]

    calls = [(node.domain, node.op_type, node.overload) for node in model.graph.node]
    total = sum(size(key, ()) for key in calls if key in known)
    if total > MOST_INLINED:
        raise malformed(f"the model's functions become more than {MOST_INLINED} nodes")


def opsets(model: "ModelProto") -> dict[str, int]:
    """Versions by domain; the standard's own is called "" here."""
    from onnx.defs import onnx_opset_version

    found = {each.domain: each.version for each in model.opset_import}
    if "ai.onnx" in found:
        found.setdefault("", found["ai.onnx"])
    if "" not in found and model.ir_version < 3:
        found[""] = 1
    newest = onnx_opset_version()
    if not 1 <= found.get("", 1) <= newest:
        why = f"the package `onnx` that is installed knows up to {newest}"
        raise malformed(f"the model is for opset {found['']}", why)
    return found


class Files:
    """The files beside a model that hold tensors; `folder` is None where it has none."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._parts: dict[tuple[Path, int, int], bytes] = {}
        self._read: Counter[Path] = Counter()

    def part(self, path: Path, offset: int, size: int) -> bytes:
        """Some bytes of a file, read once; UserError where they end early or parts overlap.

        Without overlaps, tensors take no more memory than their files.
        """
        key = (path, offset, size)
        if key not in self._parts:
            self._read[path] += size
            if self._read[path] > path.stat().st_size:
                raise malformed(f"tensors overlap in `{path.name}`")
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
            if len(data) != size:
                raise malformed(f"`{path.name}` ends too early")
            self._parts[key] = data
        return self._parts[key]


def read_tensor(tensor: "TensorProto", files: Files) -> Array:
    """The elements of a tensor; UserError where they are not there, or lie elsewhere."""
    from onnx import TensorProto, helper, numpy_helper

    name = tensor.name or "a tensor"
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or any(not 0 <= n < 2**40 for n in shape):
        raise malformed(f"`{name}` has shape {list(shape)[:MOST_AXES]}")
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise malformed(f"`{name}` holds no numbers")
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError):
        raise malformed(f"`{name}` has the unknown element type {tensor.data_type}") from None
    count = int(np.prod([float(n) for n in shape]))
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, dtype, shape, files)
    held = len(tensor.raw_data) or 8 * tensor.ByteSize()
    if count > 16 * held + 64:  # four bits at least are an element
        raise malformed(f"`{name}` should have {count} elements, and there is too little data")
    try:
        array: Array = numpy_helper.to_array(tensor)
    except Exception as error:  # whatever NumPy says of data that does not fit
        raise malformed(f"the data of `{name}` does not fit its type", str(error)) from None
    return array


def _external(
    tensor: "TensorProto", dtype: np.dtype[np.generic], shape: tuple[int, ...], files: Files
) -> Array:
    entries = {each.key: each.value for each in tensor.external_data}
    text, name = entries.get("location", ""), tensor.name or "a tensor"
    if files.folder is None:
        message = f"`{name}` lies in the file `{text}`, and the model has no folder"
        raise fail("E0407", message, help="load the model by its path")
    path = confined(text, files.folder, name)
    if dtype.itemsize * 8 < 8 or dtype.names or dtype.kind not in "biuf":
        raise malformed(f"`{name}` of {dtype} cannot lie in a file of its own")
    size = dtype.itemsize * int(np.prod([float(n) for n in shape]))
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise malformed(f"`{name}` says no place in `{text}`") from None
    if offset < 0 or length != size or size > LARGEST_TENSOR or offset + size > path.stat().st_size:
        have = path.stat().st_size
        raise malformed(f"`{name}` needs {size} bytes at {offset} of `{text}`, which has {have}")
    data = files.part(path, offset, size)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def confined(text: str, folder: Path, name: str) -> Path:
    """The file of a tensor, which must lie in the model's folder or below; links are followed."""
    parts = text.replace("\\", "/").split("/")
    is_plain = text.isprintable() and not text.startswith(("/", "\\")) and ":" not in text
    wrong = fail("E0407", f"the data of `{name}` would lie at `{text}`, out of the model's folder")
    if not text or not is_plain or ".." in parts:
        raise wrong
    try:
        root = folder.resolve(strict=True)
        path = (root / Path(*parts)).resolve()
        if not path.is_relative_to(root):
            raise wrong
        if not path.is_file():
            raise fail("E0701", f"there is no file `{text}` beside the model, which `{name}` needs")
    except (OSError, RuntimeError, ValueError):
        raise fail("E0702", f"`{text}` cannot be read") from None
    return path
