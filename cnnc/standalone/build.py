"""Building: all forms of output that are asked for, in one folder, whole or not at all."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cnnc.api import Model
from cnnc.base.errors import fail
from cnnc.base.record import record
from cnnc.gpu import emit_cuda
from cnnc.standalone import code, project
from cnnc.standalone.archive import archive
from cnnc.standalone.folder import File, Output, open_output
from cnnc.standalone.golden import golden
from cnnc.standalone.header import header_text
from cnnc.standalone.limits import check_limits
from cnnc.standalone.manifest import Before, Written, manifest
from cnnc.standalone.pool_source import pool_source, pool_symbols
from cnnc.standalone.python_module import python_module
from cnnc.standalone.request import CODE, Limits, Request
from cnnc.standalone.sizes import Sizes, measure_sizes
from cnnc.standalone.toolchain import find_linker, is_bare, library_name
from cnnc.standalone.unit import Unit
from cnnc.standalone.views import summary
from cnnc.standalone.weights_source import weights_source

_PROGRAMS = ("main", "test", "bench")
_MODULES = frozenset({*sys.stdlib_module_names, "numpy"})
Progress = Callable[[str], None]
"""Called with what is made next."""


@record
class Built:
    """What a build wrote: the files by name with their bytes, and what the network takes.

    Without code and limits nobody has measured that.
    """

    folder: Path
    name: str
    files: dict[str, int]
    sizes: Sizes | None


def build(
    model: Model,
    folder: Path,
    request: Request,
    progress: Progress = lambda what: None,
) -> Built:
    """Write every form of the request into the folder, and a manifest beside them.

    If anything fails, the folder stays as it was. UserError where the network or the machine does
    not allow a form, a limit is exceeded, a tool is missing, or the folder cannot be written to.
    """
    unit = Unit(model, request)
    check_request(unit)
    with open_output(folder) as output:
        sizes = None
        if request.wants(*CODE) or request.limits != Limits():
            progress("code")
            sizes = measure_sizes(unit)
            check_limits(unit, sizes)
        files: dict[str, Written] = {}
        for make, form in _MAKERS:
            if request.wants(form):
                progress(form)
                for file in make(unit, output):
                    output.add(file)
                    files[file.name] = Written.of(file.data)
        hash, before = f"{unit.abi.hash:016x}", Before(folder, unit.name)
        if not request.force:
            before.check([*files])
        output.guard = lambda names: before.stale(names, hash)
        text = manifest(unit, files, before.kept([*files], hash))
        output.add(text)
        files[text.name] = Written.of(text.data)
    written = {name: each.bytes for name, each in files.items()}
    return Built(folder, unit.name, written, sizes)


def check_request(unit: Unit) -> None:
    """UserError for what no build of it could give: before anything is made."""
    request = unit.request
    code.check_versions(unit)
    if request.wants("project") and unit.name in _PROGRAMS:
        raise fail(
            "E0803",
            f"a project has a program of its own that is called `{unit.name}`",
            help="give the network another `--name`",
        )
    if request.wants("py") and unit.name in _MODULES:
        raise fail(
            "E0803",
            f"Python has a module that is called `{unit.name}`",
            help="give the network another `--name`",
        )
    if request.wants("pool") and is_bare(unit.targets[0]):
        raise fail("E0801", f"`{unit.targets[0].triple}` has no threads", help="leave `pool` away")
    if request.wants("so"):
        find_linker(unit.targets[0], request.cc)
    if request.wants("a"):
        code.check_archive(unit.targets[0])
    _ = unit.name


def _header(unit: Unit, output: Output) -> Iterator[File]:
    text = header_text(
        unit.abi,
        macs=unit.model.macs,
        has_weights=unit.request.has_weights,
        stack_bytes=unit.code.stack_bytes if unit.request.wants("obj", "a", "so", "asm") else 0,
        summary=summary(unit),
    )
    yield File(f"{unit.name}.h", text.encode())


def _weights(unit: Unit, output: Output) -> Iterator[File]:
    yield File(f"{unit.name}.weights", unit.weights.data)


def _source(unit: Unit, output: Output) -> Iterator[File]:
    yield File(f"{unit.name}.c", code.c_source(unit).encode())
    if unit.request.has_weights:
        yield weights_source(unit)


def _llvm(unit: Unit, output: Output) -> Iterator[File]:
    yield File(f"{unit.name}.ll", code.llvm_text(unit).encode())


def _assembly(unit: Unit, output: Output) -> Iterator[File]:
    yield File(f"{unit.name}.s", unit.code.assembly.encode())


def _object(unit: Unit, output: Output) -> Iterator[File]:
    for each in unit.objects:
        yield File(each.name, each.data)


def _archive(unit: Unit, output: Output) -> Iterator[File]:
    yield File(f"lib{unit.name}.a", archive(unit.objects))


def _library(unit: Unit, output: Output) -> Iterator[File]:
    """Linked in a folder of its own: what it is made from is no output."""
    target, request = unit.targets[0], unit.request
    work = output.work / "link"
    work.mkdir()
    inputs = [File(each.name, each.data) for each in unit.objects]
    shown = code.symbols(unit)
    if request.wants("pool"):
        inputs += [*pool_source(unit), *_header(unit, output)]
        shown += pool_symbols(unit.name)
    for file in inputs:
        (work / file.name).write_bytes(file.data)
    linked = work / library_name(unit.name, target)
    sources = [work / file.name for file in inputs if not file.name.endswith(".h")]
    find_linker(target, request.cc).link(linked, sources, shown)
    data = linked.read_bytes()
    shutil.rmtree(work)
    yield File(linked.name, data)


def _python(unit: Unit, output: Output) -> Iterator[File]:
    yield python_module(unit)


def _pool(unit: Unit, output: Output) -> Iterator[File]:
    yield from pool_source(unit)


def _project(unit: Unit, output: Output) -> Iterator[File]:
    yield from project.project(unit)


def _cuda(unit: Unit, output: Output) -> Iterator[File]:
    made = emit_cuda(unit.lowered[0], unit.targets[0], unit.name, summary(unit))
    yield from (File(name, data) for name, data in made.items())
    yield golden(unit)


_MAKERS: tuple[tuple[Callable[[Unit, Output], Iterator[File]], str], ...] = (
    (_header, "h"),
    (_weights, "weights"),
    (_source, "c"),
    (_llvm, "ll"),
    (_assembly, "asm"),
    (_object, "obj"),
    (_archive, "a"),
    (_pool, "pool"),
    (_library, "so"),
    (_python, "py"),
    (_project, "project"),
    (_cuda, "cuda"),
)
"""What makes each form, cheap ones first."""
