"""Imports point down: who may import whom, as data."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "cnnc"

ROOMS: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "loop": {"base"},
    "ops": {"base", "ir", "loop"},
    "frontend": {"base", "ir", "ops"},
    "offers": {"base", "ir", "ops"},
    "passes": {"base", "ir", "ops", "offers"},
    "lowering": {"base", "ir", "loop", "ops", "offers"},
    "backends": {"base", "loop"},
}
"""Each room of the compiler, and the others it may import. A backend imports no other backend."""

PROGRAM = (
    "version",
    "table",
    "html",
    "options",
    "files",
    "cache",
    "memory",
    "tunefile",
    "container",
    "fields",
    "kept",
    "snapshot",
    "interface",
    "exchange",
    "binding",
    "bound_call",
    "dlpack",
    "device",
    "layers",
    "listing",
    "arrays",
    "analysis",
    "machine",
    "driver",
    "gpu",
    "made",
    "network",
    "artifact",
    "loaded",
    "compiled",
    "bench",
    "tuning",
    "api",
    "compare",
    "standalone",
    "onnx",
    "torch",
    "onnx_backend",
    "__init__",
    "cli",
    "__main__",
)
"""The modules around the rooms, lowest first; each may import all rooms and what stands before."""

Module = tuple[str, ...]
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> Module:
    """`cnnc/ir/graph.py` is ("ir", "graph")."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def resolve(name: str) -> Module | None:
    """The module a dotted name stands for or lies in; None outside the package."""
    package, *parts = name.split(".")
    if package != PACKAGE.name:
        return None
    while parts:
        path = PACKAGE.joinpath(*parts)
        if path.is_dir() or path.with_suffix(".py").is_file():
            return tuple(parts)
        parts.pop()
    return ("__init__",)


def imports(path: Path) -> Iterator[Module]:
    """The modules of the package that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                found = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = [f"{module}.{name.name}" for name in names]
            case _:
                continue
        yield from filter(None, map(resolve, found))


def blame(module: Module, imported: Module) -> str | None:
    """Why a module may not import another, or None."""
    room, other = module[0], imported[0]
    if room == other == "backends" and len(module) > 1:
        allowed = imported[1:2] in (("base",), ("abi",), module[1:2])
        return None if allowed else f"backend {module[1]} imports {'.'.join(imported)}"
    if room == other:
        return None
    if room in ROOMS:
        return None if other in ROOMS[room] else f"{room} may not import {other}"
    if other in PROGRAM and PROGRAM.index(other) >= PROGRAM.index(room):
        return f"{other} does not stand before {room}"
    return None


def test_imports_point_down() -> None:
    """Each file imports only what the tables allow."""
    wrong = {
        f"{path.relative_to(PACKAGE)}: {why}"
        for path in FILES
        for imported in imports(path)
        if (why := blame(module_of(path), imported))
    }
    assert sorted(wrong) == []


def test_every_file_stands_somewhere() -> None:
    """A new room or module needs a place in the tables first."""
    assert {module_of(path)[0] for path in FILES} - {*ROOMS, *PROGRAM} == set()
    assert len(FILES) > 20


def test_rooms_are_in_order() -> None:
    """Each room imports only rooms above it in the table, so there is no cycle."""
    seen: set[str] = set()
    for room, allowed in ROOMS.items():
        assert allowed <= seen
        seen.add(room)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        (("ir", "graph"), "cnnc.loop.expr.Expr"),
        (("loop", "build"), "cnnc.ir.types"),
        (("passes", "fuse"), "cnnc.frontend"),
        (("lowering", "lower"), "cnnc.passes.fuse.fuse"),
        (("backends", "native", "emit"), "cnnc.ir.graph"),
        (("backends", "native", "emit"), "cnnc.backends.interp.backend"),
        (("backends", "base"), "cnnc.backends.native"),
        (("ops", "conv"), "cnnc.driver"),
        (("base", "errors"), "cnnc.load"),
        (("driver",), "cnnc.api"),
        (("api",), "cnnc.__version__"),
    ],
)
def test_what_must_be_refused_is(module: Module, imported: str) -> None:
    """The rules bite."""
    target = resolve(imported)
    assert target is not None
    assert blame(module, target)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        (("backends", "native", "emit"), "cnnc.backends.base.Backend"),
        (("backends", "native", "emit"), "cnnc.backends.native.jit"),
        (("backends",), "cnnc.backends.base"),
        (("passes", "fuse"), "cnnc.ops.fused.Fused"),
        (("cli", "main"), "cnnc.driver"),
        (("cli",), "cnnc.load"),
    ],
)
def test_what_is_meant_is_allowed(module: Module, imported: str) -> None:
    """The rules do not bite too much."""
    target = resolve(imported)
    assert target is not None
    assert blame(module, target) is None
