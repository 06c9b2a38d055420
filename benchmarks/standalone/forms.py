"""What is compared: each form is built in a folder of its own, and gives the command to run it.

A form that cannot be built raises UnsupportedError, and is left out with the reason.
"""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peers.results import CNNC
from peers.unsupported import UnsupportedError

import cnnc
from cnnc.ir.graph import Graph
from standalone.ends import Call, glue
from standalone.plain.source import WEIGHTS, Plain, plain_source
from standalone.plain.writer import array
from standalone.prepare import Workshop
from standalone.toolchain import FLAGS, run_tool, version_of

DRIVER = Path(__file__).resolve().parent / "driver"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Form:
    """How to run it, and what it is."""

    command: Sequence[str]
    version: str


Build = Callable[[Workshop, Path], Form]


def in_process(shop: Workshop, folder: Path) -> Form:
    """cnnc's native code, in the process that compiled it."""
    sources = [str(DRIVER / "driver.c"), str(DRIVER / "in_process.c")]
    run_tool(["gcc", "-O2", "-shared", "-fPIC", "-o", "driver.so", *sources], folder)
    cores = ",".join(map(str, shop.cores))
    arguments = (shop.task.dumps(), cores, str(folder / "driver.so"))
    return Form((sys.executable, "-m", "standalone.in_process", *arguments), cnnc.__version__)


def native_object(shop: Workshop, folder: Path) -> Form:
    """The object file that `cnnc build` writes."""
    name = cnnc_build(shop, folder, "obj,h")
    objects = [str(path) for path in sorted(folder.glob("*.o"))]
    call = call_of_header(shop, folder / f"{name}.h")
    return _linked(shop, call, objects, folder, cnnc.__version__)


def c_source(compiler: str) -> Build:
    """The project that `cnnc build` writes, made with a compiler as its Makefile says."""

    def build(shop: Workshop, folder: Path) -> Form:
        version = version_of(compiler, folder)
        name = cnnc_build(shop, folder, "project")
        archive = f"lib{name}.a"
        run_tool(["make", f"CC={compiler}", archive], folder)
        return _linked(shop, call_of_header(shop, folder / f"{name}.h"), [archive], folder, version)

    return build


def plain_loops(shop: Workshop, folder: Path) -> Form:
    """Plain loops, one function for each operator, compiled by gcc."""
    plain = write_plain(shop.graph, folder)
    run_tool(["gcc", "-std=c99", *FLAGS, "-c", "plain.c", "weights.s"], folder)
    call = Call(f"{plain.prototype};", "plain_run")
    return _linked(shop, call, ["plain.o", "weights.o"], folder, version_of("gcc", folder))


def write_plain(graph: Graph, folder: Path) -> Plain:
    """Plain loops, in `plain.c` and `weights.s`."""
    plain = plain_source(graph)
    (folder / "plain.c").write_text(plain.source, encoding="utf-8")
    (folder / "weights.s").write_text(plain.assembly, encoding="utf-8")
    (folder / WEIGHTS).write_bytes(plain.weights)
    return plain


def emx(shop: Workshop, folder: Path) -> Form:
    """The C of emx-onnx-cgen, compiled by gcc."""
    source = "model.c"
    run_tool(["emx-onnx-cgen", "compile", shop.task.model.as_posix(), source], folder)
    run_tool(["gcc", *FLAGS, "-c", source], folder)
    loads = "model_load" in (folder / source).read_text(encoding="utf-8")
    head = [f"void model({_parameters(shop)});", *["_Bool model_load(const char *path);"] * loads]
    begin = f'if (!model_load("{folder / "model.bin"}")) return 1;' if loads else ""
    call = Call("\n".join(head), "model", begin=begin)
    return _linked(shop, call, ["model.o"], folder, _installed("emx-onnx-cgen", folder))


def onnx2c(shop: Workshop, folder: Path) -> Form:
    """The C of onnx2c, compiled by gcc."""
    text = run_tool(["onnx2c", str(shop.task.model)], folder)
    (folder / "model.c").write_text(text, encoding="utf-8")
    run_tool(["gcc", *FLAGS, "-c", "model.c"], folder)
    call = Call(f"void entry({_parameters(shop)});", "entry")
    return _linked(shop, call, ["model.o"], folder, "")


FORMS: Mapping[str, Build] = {
    CNNC: in_process,
    "object": native_object,
    "c-gcc": c_source("gcc"),
    "c-clang": c_source("clang"),
    "plain": plain_loops,
    "emx": emx,
    "onnx2c": onnx2c,
}
"""The forms by the names that tables have for them; the first is what others are held against."""


def cnnc_build(shop: Workshop, folder: Path, forms: str) -> str:
    """The name of what `cnnc build` has written."""
    task = shop.task
    given = [task.net, "-o", str(folder), "--emit", forms, "--batch", str(task.batch)]
    given += ["--target", task.target, "--threads", str(task.threads), "--name", "net"]
    run_tool([sys.executable, "-m", "cnnc", "build", *given], ROOT)
    return "net"


def call_of_header(shop: Workshop, header: Path) -> Call:
    """Calls of the function that a header of cnnc declares."""
    name, text = header.stem, header.read_text(encoding="utf-8")
    found = re.search(rf"\bint {name}_run\(([^)]*)\)", text)
    if found is None or len(found[1].split(",")) != 2 + len(shop.inputs) + len(shop.outputs):
        raise UnsupportedError(f"{header.name} declares no {name}_run for these inputs and outputs")
    macro = name.upper()
    lines = (
        f'#include "{header.name}"',
        f"static unsigned char arena[{macro}_ARENA_BYTES + 1]"
        f" __attribute__((aligned({macro}_ALIGNMENT)));",
        f"static const {name}_weights *weights;",
    )
    begin = f"weights = {name}_weights_builtin();"
    return Call("\n".join(lines), f"{name}_run", ("weights", "arena"), begin, is_void=False)


def _linked(shop: Workshop, call: Call, objects: Sequence[str], folder: Path, version: str) -> Form:
    """The driver with what was compiled."""
    (folder / "glue.c").write_text(glue(call, shop.inputs, shop.outputs), encoding="utf-8")
    sources = ["glue.c", str(DRIVER / "driver.c")]
    flags = ["-O2", f"-I{DRIVER}", "-o", "form"]
    run_tool(["gcc", *flags, *sources, *objects, "-lm"], folder)
    return Form([str(folder / "form")], version)


def _parameters(shop: Workshop) -> str:
    """Inputs and outputs as arrays, in order."""
    inputs = [f"const float {array(f'in{n}', end.shape)}" for n, end in enumerate(shop.inputs)]
    outputs = [f"float {array(f'out{n}', end.shape)}" for n, end in enumerate(shop.outputs)]
    return ", ".join([*inputs, *outputs])


def _installed(tool: str, folder: Path) -> str:
    """The version that a program's own Python has of it; nothing where it cannot be found out."""
    path = shutil.which(tool)
    script = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    python = script.splitlines()[0].removeprefix("#!").strip() if script.startswith("#!") else ""
    code = f"from importlib.metadata import version; print(version('{tool}'))"
    try:
        return run_tool([python, "-c", code], folder).strip() if python else ""
    except UnsupportedError:
        return ""
