"""Source of C: free of warnings, free of libraries, and the interface that it defines."""

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

import cnnc
from cnnc import driver
from cnnc.backends.abi import HEAD_BYTES, Abi, Status
from cnnc.backends.c.backend import aligned_bytes
from cnnc.backends.c.emit_source import Form, Weights, emit_source, weights_blob
from cnnc.backends.c.flags import machine_flags
from cnnc.base.target import Target
from cnnc.loop.kernel import Program, Region
from cnnc.lowering.lowered import Lowered
from cnnc.standalone.header import header_text
from tests.tools import require_tool

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
SLOW = ("resnet50", "unet", "vgg16")
"""Networks that take seconds to lower, and have no layers of their own kind."""
NETS = sorted({path.stem for path in ZOO.glob("*.cnn")} - {*SLOW})
SMALL = ("ds_cnn", "lenet5", "pooling")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
TARGETS = ("x86-64-v4", "x86-64-v3", "x86-64", "riscv64")
"""Vectors of 512, 256 and 128 bits, and none: what is written for RISC-V compiles anywhere."""
TINY = """cnn 1
net tiny {
  input image: f32[N, 3, 8, 8]
  features = image -> conv(8, 3, pad = same) -> relu
  output logits = features -> pool(avg, global) -> flatten -> dense(4)
  weights he(seed = 3)
}
"""


def lower(model: cnnc.Model, target: Target, threads: int = 1) -> Lowered:
    """The network as the driver lowers it."""
    graph = driver.optimise(model.graph, driver.pipeline(target))
    return driver.lower_graph(graph, target)


def source(lowered: Lowered, target: Target, weights: Weights = Weights.ABSENT) -> str:
    """Its text, with comments about shapes."""
    program = lowered.program
    form = Form(weights, shaped=driver.shaped_kernels(lowered))
    return emit_source(program, target, Abi.of(program), form)


def host_flags(target: Target) -> tuple[str, ...]:
    """Those of this machine's compiler: none where the text is for another architecture."""
    return machine_flags(target) if target.architecture == "x86_64" else ()


def build(folder: Path, text: str, *flags: str, compiler: str = "gcc", output: str = "x.o") -> Path:
    """The text compiled; what the compiler says is shown where it fails."""
    (folder / "x.c").write_text(text, encoding="utf-8")
    command = [compiler, *flags, "x.c", "-o", output]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    # vectors of more bits than registers have: gcc notes that nobody else should be handed these
    assert "warning" not in done.stderr
    return folder / output


@pytest.mark.parametrize("name", NETS)
def test_no_network_of_the_zoo_gives_warnings(name: str, tmp_path: Path) -> None:
    gcc, clang = require_tool("gcc", package="gcc"), require_tool("clang", package="clang")
    number = NETS.index(name)
    target = driver.find_target(TARGETS[number % len(TARGETS)])
    lowered = lower(cnnc.load(ZOO / f"{name}.cnn"), target)
    text, flags = source(lowered, target), host_flags(target)
    for compiler in (gcc, clang):
        build(tmp_path, text, *WARNINGS, *flags, "-fsyntax-only", compiler=compiler)
    if name in SMALL:
        build(tmp_path, text, *WARNINGS, *flags, "-O3", "-c", compiler=gcc)
        build(tmp_path, text, *WARNINGS, *flags, f"-O{number % 3}", "-c", compiler=clang)
    assert str(ZOO) not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("target", ["x86-64-v3", "riscv64"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_links_without_any_library(compiler: str, target: str, tmp_path: Path) -> None:
    tool, nm = require_tool(compiler, package=compiler), require_tool("nm", package="binutils")
    machine = driver.find_target(target)
    text = source(lower(cnnc.load(ZOO / "ds_cnn.cnn"), machine), machine)
    flags = ("-ffreestanding", "-O2", *host_flags(machine), "-c")
    made = build(tmp_path, text, *WARNINGS, *flags, compiler=tool)
    listed = subprocess.run([nm, made], capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listed.splitlines()]
    # what freestanding compilers ask of every environment
    assert {name for kind, name in symbols if kind == "U"} <= {"memcpy", "memset"}
    # one letter in capitals is one that others can see; and nothing can change
    visible = {name for kind, name in symbols if kind in "TDBC"}
    assert visible == {f"ds_cnn_{name}" for name in ("run", "run_part", "strerror", "weights_open")}
    assert not {kind for kind, _ in symbols} & {*"DdBbC"}


@pytest.mark.parametrize("name", SMALL)
def test_networks_of_the_zoo_agree_with_the_reference(name: str) -> None:
    require_tool("gcc", package="gcc")
    model = cnnc.load(ZOO / f"{name}.cnn")
    random = np.random.default_rng(1)
    inputs = {
        node.name: random.normal(0, 1, node.type.shape).astype(node.type.dtype.numpy)
        for node in model.graph.inputs
    }
    made, exact = (model.compile(backend=each)(**inputs) for each in ("c", "reference"))
    for label, value in exact.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(made[label], value, rtol=2e-4, atol=2e-5 * scale)


class Library:
    """A compiled network called through its interface."""

    def __init__(self, folder: Path, weights: Weights = Weights.ABSENT, batch: str = "1") -> None:
        self.target = driver.find_target("native")
        text = TINY.replace("cnn 1\n", f"cnn 1\nparam N = {batch}\n")
        self.lowered = lower(cnnc.load_text(text), self.target)
        self.program: Program = self.lowered.program
        self.abi = Abi.of(self.program)
        flags = (*WARNINGS, *machine_flags(self.target), "-O1", "-fPIC", "-shared")
        text = source(self.lowered, self.target, weights)
        self.library = ctypes.CDLL(str(build(folder, text, *flags, output="x.so")))
        blob = weights_blob(self.program, self.abi)
        self.weights = aligned_bytes(len(blob))
        self.weights[:] = np.frombuffer(blob, np.uint8)
        self.arena = aligned_bytes(self.abi.arena_bytes + 4 * self.abi.scratch_bytes)

    def call(self, name: str, *args: object) -> int:
        """The status that a function returns; arrays are handed as pointers."""
        function = getattr(self.library, f"tiny_{name}")
        status: int = function(*(_argument(arg) for arg in args))
        return status

    def run(self, *args: object) -> int:
        """`tiny_run`."""
        return self.call("run", *args)


def _argument(value: object) -> object:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_size_t(value) if isinstance(value, int) else value


@pytest.fixture
def tiny(tmp_path: Path) -> Library:
    require_tool("gcc", package="gcc")
    return Library(tmp_path)


def ends(samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """An input and room for an output."""
    random = np.random.default_rng(2)
    image = random.normal(0, 1, (samples, 3, 8, 8)).astype(np.float32)
    return image, np.full((samples, 4), np.nan, np.float32)


def expected(library: Library, image: np.ndarray) -> np.ndarray:
    """What the operators' references compute."""
    text = TINY.replace("cnn 1\n", f"cnn 1\nparam N = {len(image)}\n")
    result: np.ndarray = cnnc.load_text(text).compile(backend="reference")(image=image)["logits"]
    return result


def test_a_run_fills_the_outputs(tiny: Library) -> None:
    image, logits = ends()
    assert tiny.run(tiny.weights, tiny.arena, image, logits) == Status.OK
    np.testing.assert_allclose(logits, expected(tiny, image), rtol=1e-4, atol=1e-5)


def test_wrong_arguments_have_a_status(tiny: Library) -> None:
    image, logits = ends()
    right = [tiny.weights, tiny.arena, image, logits]
    for position in range(4):
        wrong = [*right]
        wrong[position] = None
        assert tiny.run(*wrong) == Status.NULL_POINTER
    assert tiny.run(tiny.weights[4:], *right[1:]) == Status.MISALIGNED
    assert tiny.run(tiny.weights, tiny.arena[4:], *right[2:]) == Status.MISALIGNED
    for threads, thread in ((0, 0), (1, 1), (1, -1), (2, 0)):
        part = ctypes.c_int(thread), ctypes.c_int(threads), None, None
        assert tiny.call("run_part", *right, *part) == Status.WRONG_THREADS
    tiny.weights[9] ^= 1
    assert tiny.run(*right) == Status.WRONG_WEIGHTS
    assert np.isnan(logits).all()


def test_every_status_has_a_text(tiny: Library) -> None:
    strerror = tiny.library.tiny_strerror
    strerror.restype = ctypes.c_char_p
    texts = [strerror(int(status)).decode() for status in Status]
    assert texts == [tiny.abi.strerror(status) for status in Status]
    assert strerror(99) == b"an unknown status"


def test_weights_are_opened_where_they_lie(tiny: Library) -> None:
    opened = ctypes.c_void_p()
    size, where = len(tiny.weights), ctypes.byref(opened)
    assert tiny.call("weights_open", tiny.weights, size, where) == Status.OK
    assert opened.value == tiny.weights.ctypes.data
    assert tiny.call("weights_open", None, size, where) == Status.NULL_POINTER
    assert tiny.call("weights_open", tiny.weights, size, None) == Status.NULL_POINTER
    assert tiny.call("weights_open", tiny.weights, size - 1, where) == Status.WRONG_SIZE
    assert tiny.call("weights_open", tiny.weights, 0, where) == Status.WRONG_SIZE
    assert tiny.call("weights_open", tiny.weights[8:], size - 8, where) == Status.MISALIGNED
    tiny.weights[0] = 0
    assert tiny.call("weights_open", tiny.weights, size, where) == Status.WRONG_WEIGHTS


def test_weights_may_be_in_the_text(tmp_path: Path) -> None:
    require_tool("gcc", package="gcc")
    library = Library(tmp_path, Weights.ARRAY)
    builtin = library.library.tiny_weights_builtin
    builtin.restype = ctypes.c_void_p
    assert ctypes.string_at(builtin(), len(library.weights)) == library.weights.tobytes()
    image, logits = ends()
    assert library.run(ctypes.c_void_p(builtin()), library.arena, image, logits) == Status.OK
    np.testing.assert_allclose(logits, expected(library, image), rtol=1e-4, atol=1e-5)


def test_weights_may_be_linked(tmp_path: Path) -> None:
    gcc = require_tool("gcc", package="gcc")
    target = driver.find_target("native")
    text = source(lower(cnnc.load_text(TINY), target), target, Weights.EXTERNAL)
    made = build(tmp_path, text, *WARNINGS, *machine_flags(target), "-c", compiler=gcc)
    listed = subprocess.run(["nm", made], capture_output=True, text=True, check=True).stdout
    assert " U tiny_weights_data\n" in listed


def test_a_call_may_bring_fewer_samples(tmp_path: Path) -> None:
    require_tool("gcc", package="gcc")
    library = Library(tmp_path, batch="1..3")
    image, logits = ends(3)
    weights_and_arena = library.weights, library.arena
    assert library.run(*weights_and_arena, 2, image, logits) == Status.OK
    np.testing.assert_allclose(logits[:2], expected(library, image[:2]), rtol=1e-4, atol=1e-5)
    assert np.isnan(logits[2]).all()
    for wrong in (0, 4):
        assert library.run(*weights_and_arena, wrong, image, logits) == Status.WRONG_SAMPLES


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_of_the_caller_share_a_run(tiny: Library, threads: int) -> None:
    image, logits = ends()
    barrier = Barrier(threads)
    wait = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda context: barrier.wait() and None)
    right = tiny.weights, tiny.arena, image, logits
    statuses: list[int] = []

    def work(thread: int) -> None:
        numbers = ctypes.c_int(thread), ctypes.c_int(threads)
        statuses.append(tiny.call("run_part", *right, *numbers, wait, None))

    workers = [Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert statuses == [Status.OK] * threads
    together = logits.copy()
    assert tiny.run(*right) == Status.OK
    np.testing.assert_array_equal(together, logits)


def test_text_depends_on_nothing_but_the_network() -> None:
    target = driver.find_target("x86-64-v3")
    one, other = (source(lower(cnnc.load_text(TINY), target), target) for _ in range(2))
    assert one == other
    assert HEAD_BYTES == 64


def test_ends_may_be_called_as_functions_of_the_file_are(tmp_path: Path) -> None:
    gcc = require_tool("gcc", package="gcc")
    target = driver.find_target("native")
    text = TINY.replace("image", "share").replace("logits", "out")
    flags = (*WARNINGS, *machine_flags(target), "-c")
    build(tmp_path, source(lower(cnnc.load_text(text), target), target), *flags, compiler=gcc)


def refused(folder: Path, *flags: str) -> str:
    """What gcc says of `tiny.c` in the folder, which it must not compile."""
    command = [require_tool("gcc", package="gcc"), *flags, "-fsyntax-only", "tiny.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def test_machines_of_another_byte_order_are_refused(tmp_path: Path) -> None:
    target = driver.find_target("x86-64")
    text = source(lower(cnnc.load_text(TINY), target), target)
    (tmp_path / "tiny.c").write_text(text, encoding="utf-8")
    said = refused(tmp_path, "-U__BYTE_ORDER__", "-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__")
    assert "tiny.c is for little-endian machines" in said


def test_a_header_of_another_build_is_refused(tmp_path: Path) -> None:
    gcc = require_tool("gcc", package="gcc")
    target = driver.find_target("x86-64")
    program = lower(cnnc.load_text(TINY), target).program
    abi = Abi.of(program)
    text = emit_source(program, target, abi, Form(header="tiny.h"))

    def write_header(shown: Abi) -> None:
        header = header_text(shown, macs=1, has_weights=False, stack_bytes=0, summary=())
        (tmp_path / "tiny.h").write_text(header, encoding="utf-8")

    write_header(abi)
    build(tmp_path, text, *WARNINGS, "-c", compiler=gcc)
    (tmp_path / "tiny.c").write_text(text, encoding="utf-8")
    for other in (
        replace(abi, hash=abi.hash ^ 1),
        replace(abi, arena_bytes=abi.arena_bytes + 64),
        replace(abi, weights_bytes=abi.weights_bytes - 64),
    ):
        write_header(other)
        assert "tiny.h and tiny.c are of different builds" in refused(tmp_path)


BARE = """cnn 1
net bare {
  input image: f32[N, 3, 8, 8]
  output shrunk = image -> pool(max, 2)
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_functions_that_use_no_weights_give_no_warnings(compiler: str, tmp_path: Path) -> None:
    tool = require_tool(compiler, package=compiler)
    for name in ("x86-64", "riscv64"):
        target = driver.find_target(name)
        text = source(lower(cnnc.load_text(BARE), target), target)
        assert "    (void)weights;\n    (void)arena;\n" in text
        build(tmp_path, text, *WARNINGS, "-c", compiler=tool)


def test_comments_say_where_buffers_lie() -> None:
    target = driver.find_target("x86-64-v3")
    lowered = lower(cnnc.load_text(TINY), target)
    text = source(lowered, target)
    for step in lowered.program.steps:
        place = step.places[-1]
        if place.region is Region.ARENA:
            assert re.search(
                rf"^ \* y: f32\[.*, arena \+ {place.offset}( \*/)?$", text, re.MULTILINE
            )
    assert re.search(r"^ \* weight: f32\[.*, weights \+ 64$", text, re.MULTILINE)
    assert re.search(r"^ \* x: f32\[1, 3, 8, 8\].*, image( \*/)?$", text, re.MULTILINE)
