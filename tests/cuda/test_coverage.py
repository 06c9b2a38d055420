"""Every network of the examples as CUDA: of three samples and reduced on the CPU, whole and of one
sample for a compiler that takes no warning."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cnnc.api import Model, load, load_text
from cnnc.backends.cuda.folder import emit_sources
from cnnc.compare.measure import measure
from cnnc.compare.whole import expect
from tests.cuda.nets import inputs_of, planned
from tests.cuda.shim import SHIM, Library, Net, compile_nets
from tests.tools import require_tool

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SQUARE = ("224, 224", "32, 32")
REDUCED: Mapping[str, Sequence[tuple[str, str]]] = {
    "zoo/densenet121": (
        SQUARE,
        ("repeat(6)", "repeat(2)"),
        ("repeat(12)", "repeat(2)"),
        ("repeat(24)", "repeat(1)"),
        ("repeat(16)", "repeat(2)"),
    ),
    "zoo/ds_cnn": (),
    "zoo/efficientnet_b0": (SQUARE,),
    "zoo/fsrcnn": (("120, 160", "12, 16"),),
    "zoo/inception_v1": (SQUARE, ("dense(1000)", "dense(100)")),
    "zoo/lenet5": (),
    "zoo/mobilenet_v1": (SQUARE, ("width = 1.0", "width = 0.25")),
    "zoo/mobilenet_v2": (SQUARE,),
    "zoo/mobilenet_v3": (SQUARE,),
    "zoo/pooling": (),
    "zoo/resnet18": (SQUARE, ("512", "128"), ("256", "64")),
    "zoo/resnet50": (
        SQUARE,
        ("stage(64, 3", "stage(16, 2"),
        ("stage(128, 4)", "stage(24, 2)"),
        ("stage(256, 6)", "stage(32, 1)"),
        ("stage(512, 3)", "stage(64, 1)"),
    ),
    "zoo/shufflenet_v2": (SQUARE, ("repeat(7)", "repeat(2)")),
    "zoo/squeezenet": (("224, 224", "48, 48"),),
    "zoo/tcn": (("784", "100"),),
    "zoo/tiny_yolo_v2": (("416, 416", "64, 64"), ("13, 13", "2, 2"), ("1024", "128")),
    "zoo/two_inputs": (("64, 64", "32, 32"),),
    "zoo/unet": (
        ("1024", "80"),
        ("(512)", "(40)"),
        ("(256)", "(20)"),
        ("(128)", "(10)"),
        ("(64)", "(5)"),
        ("572, 572", "188, 188"),
        ("388, 388", "4, 4"),
    ),
    "zoo/vgg16": (SQUARE, ("512", "48"), ("256", "32"), ("7, 7", "1, 1"), ("4096", "70")),
    "zoo/wavenet": (("levels, 4096", "levels, 24"), ("repeat(3)", "repeat(1)"), ("0..9", "0..4")),
    "digits/digits": (),
    "sunspots/sunspots": (),
}
"""What of each text is replaced by what, so that it takes the CPU no more than a second."""


def reduced(name: str) -> Model:
    """A network of three samples at a smaller size."""
    path = EXAMPLES / f"{name}.cnn"
    text = path.read_text(encoding="utf-8")
    for old, new in REDUCED[name]:
        assert old in text, (name, old)
        text = text.replace(old, new)
    return load_text(text, name=path.name, folder=path.parent, batch=3)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Model, Net]]:
    """All of them in one library."""
    require_tool("g++", "g++")
    models = {name: reduced(name) for name in REDUCED}
    plans = {name: planned(model) for name, model in models.items()}
    library = Library(compile_nets(tmp_path_factory.mktemp("cuda"), list(plans.values())))
    return {name: (model, Net(library, plans[name])) for name, model in models.items()}


def test_all_examples_are_here() -> None:
    files = {path.relative_to(EXAMPLES).with_suffix("") for path in EXAMPLES.rglob("*.cnn")}
    blocks = {Path("blocks")}  # no network, for others to import
    assert {path.as_posix() for path in files - blocks} == set(REDUCED)


@pytest.mark.parametrize("name", REDUCED)
def test_three_samples_agree_with_the_reference(
    nets: Mapping[str, tuple[Model, Net]], name: str
) -> None:
    model, net = nets[name]
    inputs = inputs_of(model)
    expected = expect(model.graph, inputs, 0)
    for out, end in zip(net.run(list(inputs.values())), model.outputs, strict=True):
        errors = measure(out, expected.values[end], expected.tolerances[end])
        assert errors.ok, (end, errors)


def test_single_samples_compile_without_warnings(tmp_path: Path) -> None:
    require_tool("g++", "g++")
    lines = ["#include <cuda_runtime.h>", "#include <stdlib.h>", "#include <string.h>"]
    lines += ['#include "cnnc_math.h"', '#include "cnnc_prims.h"']
    for name in REDUCED:
        plan = planned(load(EXAMPLES / f"{name}.cnn", batch=1))
        for file, data in emit_sources(plan, "test", ()).items():
            (tmp_path / file).write_bytes(data)
        lines.append(f'namespace {plan.abi.name} {{\n#include "{plan.abi.name}.cu"\n}}\n#undef TRY')
    path = tmp_path / "all.cc"
    path.write_text("\n".join(lines))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    flags += ["-Wno-attributes", "-Wno-unused-variable", "-Wno-unused-function"]
    subprocess.run(["g++", "-fsyntax-only", *flags, f"-isystem{SHIM}", str(path)], check=True)
