"""Arrays from files and to files: npy, npz, safetensors, images."""

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cnnc.base.dtype import DType
from cnnc.base.errors import UserError, did_you_mean, fail
from cnnc.base.record import record
from cnnc.files import check_file, named_path, replace_file
from cnnc.frontend.arrays import ArrayInfo, open_arrays
from cnnc.interface import End, Interface
from cnnc.table import shape_text

Array = NDArray[np.generic]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
COLLECTIONS = (".npz", ".safetensors")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@record
class Source:
    """A file for the input of this name, or for any input if there is no name."""

    path: Path
    name: str | None = None

    @staticmethod
    def parse(text: str) -> "Source":
        """`path` or `name=path`."""
        name, equals, path = text.partition("=")
        if equals and name.isidentifier():
            return Source(named_path(path, f"--input {text}"), name)
        return Source(named_path(text, "--input"))


@record
class Inputs:
    """Arrays by input, the labels if they were asked for, and remarks for the user."""

    arrays: Mapping[str, Array]
    labels: Array | None
    notes: tuple[str, ...]


def read_inputs(net: Interface, sources: Sequence[Source], labels: str | None = None) -> Inputs:
    """The arrays of the files by input; UserError where a file is unsound or fits no input.

    A collection (npz, safetensors) is matched by name. A single array (npy, image) goes to the
    input it is named for, or to the only one. Several for one input are joined along the samples.
    Images become one sample (see `read_image`) and are never resized. `labels` names an array of a
    collection that is returned beside the inputs.
    """
    ends = {end.name: end for end in net.inputs}
    parts: dict[str, list[Array]] = {}
    known: list[Array] = []
    notes: list[str] = []
    for source in sources:
        if source.path.suffix.lower() in COLLECTIONS:
            found, ignored = _read_collection(source, ends, labels)
            if labels is not None and labels in found:
                known.append(found.pop(labels))
            if ignored:
                notes.append(f"{source.path.name}: {', '.join(ignored)} ignored, no input")
            for name, array in found.items():
                parts.setdefault(name, []).append(array)
        else:
            end = _target(net, source, ends)
            parts.setdefault(end.name, []).append(_read_single(source.path, end))
    if labels is not None and not known:
        raise fail(
            "E0603",
            f"no file holds the labels `{labels}`",
            help="labels are an array of an .npz or .safetensors file that is given with -i",
        )
    arrays = {name: _join(name, several) for name, several in parts.items()}
    return Inputs(arrays, _join(labels or "", known) if known else None, tuple(notes))


def _join(name: str, several: Sequence[Array]) -> Array:
    if len(several) == 1:
        return several[0]
    if len({(each.shape[1:], each.dtype) for each in several}) > 1:
        found = ", ".join(f"{each.dtype} {shape_text(each.shape)}" for each in several)
        raise fail("E0601", f"the files for `{name}` do not fit each other: {found}")
    return np.concatenate(several)


def read_array(path: Path) -> Array:
    """The array of an npy file; nothing is unpickled, no more memory taken than the file has."""
    _check_exists(path)
    try:
        with path.open("rb") as file:
            # without its magic text, NumPy would take the file for a pickle and say so
            if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                raise ValueError("it does not begin as an npy file does")
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, RecursionError, TokenError) as error:
        raise _damaged(path, error) from None
    if not isinstance(mapped, np.ndarray) or mapped.dtype.kind not in "biuf":
        raise fail("E0406", f"`{path}` does not hold one array of plain numbers")
    return np.array(mapped, mapped.dtype.newbyteorder("="), order="C")


def check_output(path: Path, names: Sequence[str]) -> None:
    """UserError where the outputs of these names cannot go there, before anything has run."""
    check_file(path, ".npz", ".npy")
    if path.suffix.lower() == ".npy" and len(names) != 1:
        raise fail(
            "E0703",
            f"an npy file holds one array, and there are {len(names)} outputs: {', '.join(names)}",
            help="write an npz file",
        )


def write_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """All outputs as npz, or the only one as npy; the file appears whole or not at all."""
    check_output(path, list(outputs))
    data = io.BytesIO()
    if path.suffix.lower() == ".npz":
        _write_npz(data, outputs)
    else:
        (only,) = outputs.values()
        np.save(data, only, allow_pickle=False)
    replace_file(path, data.getvalue())


def _write_npz(data: io.BytesIO, outputs: Mapping[str, Array]) -> None:
    """What `numpy.savez` writes, for any names, and the same bytes every time."""
    with zipfile.ZipFile(data, "w") as archive:
        for name, array in outputs.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _target(net: Interface, source: Source, ends: Mapping[str, End]) -> End:
    """The input a single array is for."""
    known = ", ".join(ends)
    if source.name is None:
        if len(ends) == 1:
            return net.inputs[0]
        raise fail(
            "E0603",
            f"{net.name} has {len(ends)} inputs, and `{source.path}` does not say which it is",
            help=f"write NAME={source.path} with one of {known}",
        )
    if source.name not in ends:
        help = did_you_mean(source.name, ends) or f"its inputs are {known}"
        raise fail("E0603", f"{net.name} has no input `{source.name}`", help=help)
    return ends[source.name]


def _read_single(path: Path, end: End) -> Array:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_array(path)
    if suffix in IMAGES:
        return read_image(path, end)
    _check_exists(path)
    raise fail(
        "E0703",
        f"`{path}` is no known kind of file",
        help="inputs are read from .npy, .npz, .safetensors and images",
    )


def _read_collection(
    source: Source, ends: Mapping[str, End], labels: str | None
) -> tuple[dict[str, Array], list[str]]:
    """The arrays that are inputs or labels, and the names of the others, which are not read."""
    path = source.path
    _check_exists(path)
    file = open_arrays(path, None)
    if source.name is not None:
        if source.name not in ends:
            raise fail("E0603", f"there is no input `{source.name}`")
        if len(file.infos) == 1:
            (only,) = file.infos
            _check_info(path, file.infos[only], ends[source.name])
            return {source.name: file.read([only])[only]}, []
        ends = {source.name: ends[source.name]}
    wanted = [name for name in file.infos if name in ends]
    ignored = [name for name in file.infos if name not in ends and name != labels]
    if not wanted:
        raise fail(
            "E0603",
            f"`{path}` holds none of the inputs {', '.join(ends)}",
            notes=(f"it holds {', '.join(file.infos) or 'nothing'}",),
            help=f"write NAME={path} if it holds one array under another name",
        )
    for name in wanted:
        _check_info(path, file.infos[name], ends[name])
    return file.read([name for name in file.infos if name in wanted or name == labels]), ignored


def _check_info(path: Path, info: ArrayInfo, end: End) -> None:
    """Before anything is decompressed: the header must fit the input."""
    if len(info.shape) != end.type.rank or info.shape[1:] != end.type.shape[1:]:
        rest = shape_text(end.type.shape[1:])
        why = f"`{end.name}` in `{path}` is {shape_text(info.shape)}, expected N×{rest}"
        raise fail("E0601", why, end.span)


def read_image(path: Path, end: End) -> Array:
    """An image as one sample of the input; UserError unless it fits.

    For f32 its elements are 0 (black) to 1 (white), for u8 0 to 255. Sixteen
    bits of a channel become 0 to 1 too, or are rounded to eight.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    size = _image_size(end)
    _check_exists(path)
    try:
        # What Pillow warns about, such as odd tags of a camera, does not concern the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
            # checked before anything is decompressed
            if sorted(opened.size) != sorted((size.width, size.height)):
                raise _wrong_size(path, opened.size, size, end)
            upright = ImageOps.exif_transpose(opened)
            if upright.size != (size.width, size.height):
                raise _wrong_size(path, upright.size, size, end)
            if upright.mode.startswith("I;16"):
                deep = np.asarray(upright, np.float32)[..., None]
                pixels: Array = np.repeat(deep, size.channels, axis=2)
                white = 65535
            elif upright.mode in ("I", "F"):
                raise fail("E0703", f"`{path}` has pixels of mode {upright.mode}, use .npy instead")
            else:
                bytes_ = np.asarray(upright.convert(_MODES[size.channels]))
                pixels = bytes_.reshape(size.height, size.width, -1)
                white = 255
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise _damaged(path, error) from None
    except (SyntaxError, ValueError, EOFError) as error:
        raise _damaged(path, error) from None
    if end.type.dtype is DType.U8:
        made: Array = np.rint(pixels.astype(np.float64) * (255 / white)).astype(np.uint8)
    else:
        made = pixels.astype(np.float32) / np.float32(white)
    return np.ascontiguousarray((made if end.channels_last else made.transpose(2, 0, 1))[None])


@record
class _ImageSize:
    """Extents of the images an input takes."""

    channels: int
    height: int
    width: int


def _image_size(end: End) -> _ImageSize:
    """UserError where no image can be the input."""
    shape, dtype = end.type.shape, end.type.dtype
    if len(shape) == 4 and dtype in (DType.F32, DType.U8):
        size = _ImageSize(*((shape[3], *shape[1:3]) if end.channels_last else shape[1:]))
        if size.channels in _MODES:
            return size
    help = "images fit f32 or u8, N×C×height×width with 1, 3 or 4 channels; use .npy for others"
    if not end.channels_last and len(shape) == 4 and shape[3] in _MODES:
        help = f"if its channels come last, say so: `{end.type} {{ layout = nhwc }}`"
    text = f"{dtype} {shape_text(shape)}"
    raise fail("E0601", f"input `{end.name}` is {text}, which no image can be", end.span, help=help)


def _wrong_size(path: Path, found: tuple[int, int], size: _ImageSize, end: End) -> UserError:
    wanted = f"`{end.name}` is {size.width} and {size.height}"
    return fail(
        "E0601",
        f"`{path}` is {found[0]} wide and {found[1]} high, {wanted}",
        end.span,
        help="resize it first, the way the network was trained with",
    )


def _check_exists(path: Path) -> None:
    folder = path.parent
    try:
        if path.is_file():
            return
        near = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        exists = path.exists()
    except OSError as error:
        raise _unreadable(path, error) from None
    if exists:
        raise fail("E0702", f"`{path}` is not a file")
    raise fail("E0701", f"there is no file `{path}`", help=did_you_mean(path.name, near))


def _unreadable(path: Path, error: OSError) -> UserError:
    return fail("E0702", f"`{path}` cannot be read", notes=(error.strerror or str(error),))


def _damaged(path: Path, error: Exception) -> UserError:
    if isinstance(error, PermissionError):
        return _unreadable(path, error)
    reason = str(error).split("\n")[0] or type(error).__name__
    return fail("E0406", f"`{path}` is damaged or not what its name says", notes=(reason,))
