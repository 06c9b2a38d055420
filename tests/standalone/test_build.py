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
    forms = ",".join(form for form in FORMS if form not in ("so", "py"))
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
    manifest = json.loads(content.pop("manifest.json"))
    assert manifest["files"] == {n: sha256(d).hexdigest() for n, d in sorted(content.items())}
    assert manifest["weights_sha256"] == manifest["files"]["digits.weights"]
    assert manifest["targets"][0]["cpu"] == "x86-64-v3"
    assert manifest["source"] == "digits.cnn"


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
    assert abs(text - built.sizes.flash) <= built.sizes.flash / 20


def test_building_from_python(tmp_path: Path) -> None:
    """One call, with what the command line has."""
    built = cnnc.build(model("sunspots"), tmp_path, "obj", target="cortex-m4", max_ram=64 << 10)
    assert set(built.files) == {"sunspots.h", "sunspots.o", "sunspots_weights.o"}
    with pytest.raises(UserError, match="takes a Model, not Compiled"):
        cnnc.build(model("sunspots").compile(), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="threads"):
        cnnc.build(model("sunspots"), tmp_path, threads=0)


def test_a_name_for_all_symbols(tmp_path: Path) -> None:
    """Also of files."""
    built = build(model("sunspots"), tmp_path, Request(forms=("c", "pool"), name="solar"))
    assert set(built.files) == {
        *("solar.h", "solar.c", "solar_weights.c", "solar.weights"),
        *("solar_pool.h", "solar_pool.c"),
    }
    assert b"sunspots_" not in (tmp_path / "solar.c").read_bytes()
