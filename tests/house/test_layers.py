"""Imports point down: who may import whom, as a table."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cnnc"

TOOLS = {"base", "ir", "loop", "ops", "frontend", "passes", "lowering", "backends"}
"""Every room that is not the program itself."""

MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "loop": {"base"},
    "ops": {"base", "ir", "loop"},
    "frontend": {"base", "ir", "ops"},
    "passes": {"base", "ir", "ops"},
    "lowering": {"base", "ir", "loop", "ops"},
    "backends": {"base", "loop"},
    "driver": TOOLS,
    "api": {*TOOLS, "driver"},
    "cli": {*TOOLS, "driver", "api", "version"},
    "__init__": {*TOOLS, "driver", "api"},
    "__main__": {"cli"},
}
"""Rooms, and single modules of the package, with the others that each may import."""

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    """`cnnc/ir/graph.py` is ("ir", "graph")."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of the package that a file imports anywhere, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                found = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                # `from cnnc.backends import native` may name a module or something inside one.
                whole = (PACKAGE.parent / module.replace(".", "/")).is_dir()
                found = [f"{module}.{name.name}" for name in names] if whole else [module]
            case _:
                continue
        for name in found:
            parts = tuple(name.split("."))
            if parts[0] == "cnnc":
                yield parts[1:] or ("__init__",)


def blame(module: tuple[str, ...], imported: tuple[str, ...]) -> str | None:
    """Why a module may not import another, or None."""
    room, other = module[0], imported[0]
    if other == "__version__":
        return None
    if room == "backends":
        return _blame_backend(module, imported)
    if other != room and other not in MAY_IMPORT[room]:
        return f"{room} may not import {other}"
    return None


def _blame_backend(module: tuple[str, ...], imported: tuple[str, ...]) -> str | None:
    if imported[0] != "backends":
        return None if imported[0] in MAY_IMPORT["backends"] else f"a backend imports {imported[0]}"
    if imported[1:2] == ("base",) or module[1:2] == imported[1:2]:
        return None
    return f"backend {module[1:2]} imports its sibling {imported[1:2]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(module_of(path)))
def test_imports_point_down(path: Path) -> None:
    """Each file imports only what the table allows its room."""
    module = module_of(path)
    assert module[0] in MAY_IMPORT, f"{module[0]} is not in the table: decide what it may import"
    wrong = [
        f"{'.'.join(imported)}: {why}"
        for imported in imports(path)
        if (why := blame(module, imported))
    ]
    assert not wrong


def test_the_table_has_no_cycle() -> None:
    """Rooms can be put in an order in which each imports only earlier ones."""
    left = {room: allowed - {room, "version"} for room, allowed in MAY_IMPORT.items()}
    while left:
        free = [room for room, allowed in left.items() if not allowed & left.keys()]
        assert free, f"these import each other: {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in free}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        (("ir", "graph"), ("loop", "expr")),
        (("loop", "build"), ("ir", "types")),
        (("passes", "fuse"), ("frontend", "build")),
        (("lowering", "lower"), ("passes", "fuse")),
        (("backends", "native", "emit"), ("ir", "graph")),
        (("backends", "native", "emit"), ("backends", "interp", "backend")),
        (("ops", "conv"), ("driver",)),
        (("driver",), ("cli",)),
    ],
)
def test_the_rules_bite(module: tuple[str, ...], imported: tuple[str, ...]) -> None:
    """Imports that must be refused are."""
    assert blame(module, imported)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        (("backends", "native", "emit"), ("backends", "base")),
        (("backends", "native", "emit"), ("backends", "native", "jit")),
        (("passes", "fuse"), ("ops", "fused")),
        (("cli",), ("driver",)),
    ],
)
def test_the_rules_allow(module: tuple[str, ...], imported: tuple[str, ...]) -> None:
    """Imports that are meant are allowed."""
    assert blame(module, imported) is None
