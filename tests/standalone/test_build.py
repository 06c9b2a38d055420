"""Builds: the same bytes anywhere, refused before anything is made, whole or not at all."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import cnnc
from cnnc import UserError, load_text
from cnnc.standalone import build as module
from cnnc.standalone.build import build
from cnnc.standalone.request import FORMS, Limits, Request
from tests.standalone.networks import FILES
from tests.standalone.outputs import made, model
from tests.tools import require_tool

NET = """cnn 1
net tiny {
  input x: f32[N, 3, 9]
  output y = x -> conv(4, 3) -> relu
  weights he(seed = 1)
}
"""


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_bytes_in_another_folder_and_process(tmp_path: Path) -> None:
    """Every form but the library, which is the compiler's; also from another working folder."""
    forms = ",".join(form for form in FORMS if form not in ("so", "py", "cuda"))
    text = tmp_path / "net.cnn"
    text.write_text(NET)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.cnn").write_text(NET)
        command = ["build", "net.cnn", "-o", "out", "--emit", forms, "--target", "x86-64-v3"]
        environment = {**os.environ, "PYTHONHASHSEED": name[1] and str(len(name) + ord(name[0]))}
        subprocess.run(
            [sys.executable, "-m", "cnnc", *command],
            cwd=tmp_path / name,
            env=environment,
            check=True,
            capture_output=True,
        )
    one, two = (files(tmp_path / name / "out") for name in ("one", "two"))
    assert one == two
    assert {"tiny.c", "tiny.o", "libtiny.a", "tiny.ll", "tiny.s", "Makefile"} <= set(one)
    assert str(tmp_path).encode() not in b"".join(one.values())


def test_the_manifest(tmp_path: Path) -> None:
    """Sums of all files, of the text and of the weights."""
    made(tmp_path, "c", "obj", target="x86-64-v3")
    content = files(tmp_path)
    manifest = json.loads(content.pop("digits.manifest.json"))
    assert manifest["files"] == {n: sha256(d).hexdigest() for n, d in sorted(content.items())}
    assert manifest["weights_sha256"] == manifest["files"]["digits.weights"]
    assert manifest["targets"][0]["cpu"] == "x86-64-v3"
    assert manifest["source"] == "digits.cnn"
    assert len(manifest["cnnc_sha256"]) == 64


def test_a_project_without_a_system(tmp_path: Path) -> None:
    """Nothing in it speaks of the benchmark that needs a clock, and its library is made."""
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi")
    built = made(tmp_path, "project", name="sunspots", target="cortex-m4")
    assert "bench.c" not in built.files
    for name in ("README.md", "Makefile"):
        assert "bench" not in (tmp_path / name).read_text()
    subprocess.run(["make", "-s"], cwd=tmp_path, check=True)
    assert (tmp_path / "libsunspots.a").exists()


def test_a_library_is_the_same_twice(tmp_path: Path) -> None:
    """The linker puts no time in it."""
    require_tool("gcc", package="gcc")
    for name in ("one", "two"):
        made(tmp_path / name, "so", "pool", name="sunspots")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def wishes(**given: object) -> Request:
    """A request with these fields."""
    return Request(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"forms": ("wheel",)}, "no form of output is called `wheel`"),
        ({"forms": ()}, "no form of output"),
        ({"weights": "inside"}, "`builtin` or `external`"),
        ({"target": "sparc-linux"}, "no target is called"),
        ({"target": "aarch64-linux-gnu:cortex-a99"}, "cortex-a99"),
        ({"name": "my-net"}, "no output in C can be called"),
        ({"forms": ("so",), "cc": "no-such-compiler -x"}, "no-such-compiler"),
        ({"forms": ("so",), "target": "cortex-m4"}, "has no shared libraries"),
        ({"forms": ("so",), "target": "riscv32-linux-gnu"}, "no compiler for"),
        ({"forms": ("a",), "target": "arm64-apple-macos"}, "static libraries"),
        ({"forms": ("pool",), "target": "cortex-m4"}, "has no threads"),
        ({"forms": ("so",), "cc": "true"}, "made no file"),
        ({"forms": ("so",), "cc": "gcc '"}, "--cc is malformed"),
        ({"threads": 0}, "threads must be"),
        ({"forms": ("c",), "target": "x86-64:x86-64-v2,x86-64-v3"}, "is for one processor"),
        ({"tuning": Path("missing.tune")}, "missing.tune"),
    ],
)
def test_what_cannot_be_is_refused_first(
    given: dict[str, object], words: str, tmp_path: Path
) -> None:
    """Nothing is written, not even the folder."""
    with pytest.raises(UserError, match=words):
        build(load_text(NET), tmp_path / "out", wishes(**given))
    assert files(tmp_path) == {}


def test_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError) as caught:
        made(tmp_path / "out", "so")
    assert "Debian's package `gcc`" in str(caught.value.diagnostics[0].help)
    assert not (tmp_path / "out").exists()


def test_a_compiler_that_fails(tmp_path: Path) -> None:
    """Its own words are shown."""
    require_tool("gcc", package="gcc")
    with pytest.raises(UserError) as caught:
        made(tmp_path / "out", "so", cc="gcc -no-such-flag")
    assert any("no-such-flag" in note for note in caught.value.diagnostics[0].notes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_what_breaks_off_leaves_the_old_output(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old files stay whole, and no other is left."""
    made(tmp_path, "c", "obj")
    before = files(tmp_path)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "manifest", fail)
    with pytest.raises(error):
        made(tmp_path, "c", "obj", exact=True)
    assert files(tmp_path) == before


def test_limits_count_all_threads(tmp_path: Path) -> None:
    """Each has a stack, and scratch memory where a kernel wants some."""
    one = made(tmp_path / "1", "obj", target="x86-64-v3").sizes
    four = made(tmp_path / "4", "obj", target="x86-64-v3", threads=4).sizes
    assert one
    assert four
    assert four.ram > one.ram + 2 * one.stack
    with pytest.raises(UserError, match="RAM of"):
        made(tmp_path / "5", "obj", target="x86-64-v3", threads=4, limits=Limits(ram=four.ram - 1))


def test_external_weights_are_not_in_flash(tmp_path: Path) -> None:
    """As the error of a limit says."""
    limits = Limits(flash=64 << 10)
    with pytest.raises(UserError, match="flash of"):
        made(tmp_path, "obj", target="cortex-m4", limits=limits)
    built = made(tmp_path, "obj", target="cortex-m4", limits=limits, weights="external")
    assert built.sizes
    assert built.sizes.flash == built.sizes.code


def test_texts_of_users_do_not_leave_comments(tmp_path: Path) -> None:
    """A file's name and a setting are text in C, Python and Markdown."""
    require_tool("gcc", package="gcc")
    odd = tmp_path / 'x*_""" + str(1 % 0) + """.cnn'
    odd.write_text(NET)
    cnnc.build(cnnc.load(odd), tmp_path / "out", ["project", "py"], name="odd")
    made_module = compile((tmp_path / "out" / "odd.py").read_text(), "odd.py", "exec")
    assert "1 % 0" in str(made_module.co_consts[0])
    hidden = load_text(NET, name="a*/ int x; /*.cnn")
    cnnc.build(hidden, tmp_path / "out", "c", name="odd", force=True)
    assert "*/ int x" not in (tmp_path / "out" / "odd.h").read_text()


def test_limits_name_what_would_lower_it(tmp_path: Path) -> None:
    """All that are exceeded, in one error."""
    limits = Limits(ram=1000, flash=2000, stack=1)
    with pytest.raises(UserError) as caught:
        made(tmp_path / "out", "obj", target="cortex-m4", limits=limits)
    ram, flash, stack = caught.value.diagnostics
    assert {each.code for each in caught.value.diagnostics} == {"E0807"}
    assert "is over the limit of 1000 B" in ram.message
    assert "body." in str(ram.help)
    assert "down.second.conv" in str(flash.help)
    assert "external" in str(flash.help)
    assert "stack" in stack.message
    assert not (tmp_path / "out").exists()
    roomy = Limits(ram=1 << 20, flash=1 << 20, stack=1 << 16)
    made(tmp_path / "out", "obj", target="cortex-m4", limits=roomy)


@pytest.mark.parametrize("name", ["digits", "lenet5"])
def test_sizes_are_what_the_linker_finds(name: str, tmp_path: Path) -> None:
    """RAM to the byte, flash within a twentieth."""
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi")
    built = made(tmp_path, "obj", name=name, target="cortex-m4")
    upper = name.upper()
    ends = "".join(f", {end}" for end in ("x", "y", "z")[: 2 + (name == "digits")])
    (tmp_path / "main.c").write_text(
        f'#include "{name}.h"\n'
        f"unsigned char arena[{upper}_ARENA_BYTES] __attribute__((aligned(64)));\n"
        f"float x[1], y[1], z[1];\n"
        f"int main(void) {{ return {name}_run({name}_weights_builtin(), arena{ends}); }}\n"
        "void *memset(void *to, int byte, size_t n) {\n"
        "  for (size_t i = 0; i < n; i++) { ((volatile char *)to)[i] = (char)byte; }\n"
        "  return to;\n}\n"
        "void __aeabi_memclr4(void *to, size_t n) { memset(to, 0, n); }\n"
    )
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os"]
    flags += ["-nostdlib", "-Wl,-e,main", "-Wl,--gc-sections", "-fno-builtin"]
    files = ["main.c", f"{name}.o", f"{name}_weights.o"]
    command = ["arm-none-eabi-gcc", *flags, *files, "-o", "main.elf", "-lgcc"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run(
        ["arm-none-eabi-size", "main.elf"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    text, data, bss = map(int, said.stdout.splitlines()[1].split()[:3])
    assert data == 0
    assert 0 <= bss - built.sizes.arena <= 64  # the three numbers of the program, and alignment
    code = text - built.sizes.weights
    assert abs(code - built.sizes.code) <= built.sizes.code / 20


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    """Those that no build wrote, and those that were edited since, unless one says so."""
    (tmp_path / "Makefile").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(UserError, match="is not as cnnc wrote it"):
        made(tmp_path, "project", name="sunspots")
    assert files(tmp_path) == before
    made(tmp_path, "project", name="sunspots", force=True)
    with (tmp_path / "main.c").open("a") as file:
        file.write("/* mine */\n")
    with pytest.raises(UserError, match=r"main\.c"):
        made(tmp_path, "project", name="sunspots")
    made(tmp_path, "c", name="sunspots")
    assert "mine" in (tmp_path / "main.c").read_text()


def test_files_of_another_build_go(tmp_path: Path) -> None:
    """What does not fit the new header is removed; what fits it stays, and so do other networks."""
    made(tmp_path, "c", "obj", name="sunspots")
    made(tmp_path, "h", name="digits")
    made(tmp_path, "ll", name="sunspots")
    assert {"sunspots.c", "sunspots.o", "sunspots.ll"} <= set(files(tmp_path))
    manifest = json.loads((tmp_path / "sunspots.manifest.json").read_text())
    assert {"sunspots.c", "sunspots.ll"} <= set(manifest["files"])
    made(tmp_path, "obj", name="sunspots", target="x86-64")
    left = set(files(tmp_path))
    assert "sunspots.c" not in left
    assert "sunspots.ll" not in left
    assert {"sunspots.o", "sunspots.h", "digits.h"} <= left


def test_cuda_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Source for nvcc, with the weights; not beside forms for processors."""
    built = made(tmp_path, "cuda", name="sunspots")
    assert {"sunspots.cu", "sunspots.h", "sunspots.weights", "main.cu"} <= set(built.files)
    exact = made(tmp_path / "exact", "cuda", name="sunspots", exact=True)
    assert exact.sizes is None
    for forms, target in ((("cuda", "c"), "native"), (("c",), "cuda"), (("cuda",), "x86-64")):
        with pytest.raises(UserError):
            made(tmp_path / "out", *forms, name="sunspots", target=target)


def test_a_folder_in_the_way_stops_all(tmp_path: Path) -> None:
    """It is found before the first file is moved."""
    made(tmp_path, "c", name="sunspots")
    (tmp_path / "sunspots.weights").unlink()
    (tmp_path / "sunspots.weights").mkdir()
    before = {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"sunspots\.weights"):
        made(tmp_path, "c", name="sunspots", target="x86-64")
    after = {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


def test_what_killed_builds_left_is_removed(tmp_path: Path) -> None:
    """But not what a running one is at."""
    for process in ("999999999", str(os.getppid())):
        (tmp_path / f".cnnc-build-{process}-x").mkdir()
    made(tmp_path, "weights", name="sunspots")
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == [f".cnnc-build-{os.getppid()}-x"]


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    """As an interrupt does."""
    code = (
        "import os, signal, sys, cnnc\n"
        "from cnnc.standalone import build\n"
        "build.manifest = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "cnnc.build(cnnc.load(sys.argv[1]), sys.argv[2], 'weights')\n"
    )
    where = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(FILES["sunspots"]), str(where)], capture_output=True
    )
    assert ended.returncode != 0
    assert not where.exists()


@pytest.mark.parametrize(
    ("name", "forms"),
    [("main", "project"), ("test", "project"), ("bench", "project"), ("numpy", "py")],
)
def test_names_of_other_files(name: str, forms: str, tmp_path: Path) -> None:
    """A project has programs, and Python has modules."""
    with pytest.raises(UserError, match=f"`{name}`"):
        build(model("sunspots"), tmp_path / "out", Request(forms=(forms,), name=name))


def test_building_from_python(tmp_path: Path) -> None:
    """One call, with what the command line has."""
    built = cnnc.build(model("sunspots"), tmp_path, "obj", target="cortex-m4", max_ram=64 << 10)
    manifest = "sunspots.manifest.json"
    assert set(built.files) == {"sunspots.h", "sunspots.o", "sunspots_weights.o", manifest}
    with pytest.raises(UserError, match="takes a Model, not Compiled"):
        cnnc.build(model("sunspots").compile(), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="threads"):
        cnnc.build(model("sunspots"), tmp_path, threads=0)


def test_a_name_for_all_symbols(tmp_path: Path) -> None:
    """Also of files."""
    built = build(model("sunspots"), tmp_path, Request(forms=("c", "pool"), name="solar"))
    assert set(built.files) == {
        *("solar.h", "solar.c", "solar_weights.c", "solar.weights", "solar.manifest.json"),
        *("solar_pool.h", "solar_pool.c"),
    }
    assert b"sunspots_" not in (tmp_path / "solar.c").read_bytes()
