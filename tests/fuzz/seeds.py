"""Sound inputs of every kind, from which the mutated ones are made."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save

from cnnc.base.choice import Choice, Choices
from cnnc.base.target import Target
from cnnc.ir.graph import Node
from cnnc.offers.offer import key_of
from cnnc.tunefile import Entry, TuneFile, facts_of, target_line

ROOT = Path(__file__).resolve().parents[2]
NET = """cnn 1
param width = 4
net n {
  input image: f32[N, 3, 8, 6]
  stem = image -> conv(width, 3, pad = same) -> batchnorm -> relu
  output y = stem -> pool(avg, global) -> flatten -> head: dense(5)
  weights "weights.SUFFIX" { "model.{part}.*" => "{part}.*"  "old.*" => drop }
  check "golden.npz"
}
"""
TUNED_NET = """cnn 1
net n {
  input x: f32[N, 16, 9, 9]
  output y = x -> conv(16, 3)
  weights he
}
"""
TUNED = [
    "direct tile=2x1x7",
    "direct tile=1x1x7 rows_first",
    "winograd points=6 rows=2 at_once=8 columns=4",
]
TENSORS = {
    "model.stem.conv.weight": (4, 3, 3, 3),
    "stem.conv.bias": (4,),
    "stem.batchnorm.weight": (4,),
    "stem.batchnorm.bias": (4,),
    "stem.batchnorm.mean": (4,),
    "stem.batchnorm.var": (4,),
    "model.head.weight": (5, 4),
    "head.bias": (5,),
    "old.count": (2,),
}


def texts() -> list[str]:
    """Networks of the examples and of the tests of errors, and one that uses most constructs."""
    files = [*ROOT.glob("examples/*/*.cnn"), *ROOT.glob("tests/errors/*.cnn")]
    return [path.read_text(encoding="utf-8") for path in sorted(files)]


def tensors() -> dict[str, np.ndarray]:
    """The weights of NET."""
    random = np.random.default_rng(0)
    return {
        name: random.uniform(0.5, 1, shape).astype(np.float32) for name, shape in TENSORS.items()
    }


def tune_files(layer: Node, target: Target) -> list[str]:
    """Files with each of the choices for a layer."""
    key = key_of(layer, Choices(facts=facts_of(target, exact=False)))
    entries = [Entry(key, Choice.parse(text), 9.5, 8.25, 7, 0.5, layer.name) for text in TUNED]
    return [TuneFile(target_line(target), {key: entry}).format() for entry in entries]


def weight_files() -> dict[str, bytes]:
    """The weights of NET in every format, compressed and not."""
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **tensors())
    np.savez_compressed(packed, **tensors())
    return {
        "plain.npz": plain.getvalue(),
        "packed.npz": packed.getvalue(),
        "weights.safetensors": save(tensors(), {"made": "by a test"}),
    }


def input_files() -> dict[str, bytes]:
    """Arrays for the input of NET: npy of several types and orders, npz and safetensors."""
    values = np.random.default_rng(1).normal(size=(2, 3, 8, 6)).astype(np.float32)
    made: dict[str, bytes] = {}
    for name, array in (
        ("f32.npy", values),
        ("f64.npy", values.astype(np.float64)),
        ("big.npy", values.astype(">f4")),
        ("fortran.npy", np.asfortranarray(values)),
        ("u8.npy", values.astype(np.uint8)),
    ):
        file = io.BytesIO()
        np.save(file, array)
        made[name] = file.getvalue()
    collection = io.BytesIO()
    np.savez_compressed(collection, image=values, labels=np.arange(2))
    made["inputs.npz"] = collection.getvalue()
    made["inputs.safetensors"] = save({"image": values, "labels": np.arange(2)})
    return made


def image_files() -> dict[str, bytes]:
    """Images for the input of NET in every format that is read."""
    pixels = np.random.default_rng(2).integers(0, 256, (8, 6, 3), np.uint8)
    made: dict[str, bytes] = {}
    for suffix, mode in (
        *(("png", mode) for mode in ("RGB", "RGBA", "L", "P", "1", "I;16")),
        *(("jpg", mode) for mode in ("RGB", "L", "CMYK")),
        *((suffix, "RGB") for suffix in ("bmp", "gif", "tif", "webp", "ppm")),
        *(("tif", mode) for mode in ("F", "I;16", "LAB")),
        ("pgm", "L"),
    ):
        if mode == "I;16":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        elif mode == "LAB":
            image = Image.frombytes("LAB", (6, 8), pixels.tobytes())
        else:
            image = Image.fromarray(pixels).convert(mode)
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        kind = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM", "pgm": "PPM"}.get(suffix, suffix)
        image.save(file, kind, **({"exif": exif} if suffix in ("jpg", "webp") else {}))
        made[f"{mode.replace(';', '')}.{suffix}"] = file.getvalue()
    return made
