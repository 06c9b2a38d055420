"""The tail is gated: no long file, no long function, no word that does not belong, no public
name without a line that says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "cnnc",
    "grammar",
    "templates",
    "tests",
    "examples",
    "docs",
    "benchmarks",
    "scripts",
    ".ci",
)
TEXT = {"", ".py", ".md", ".toml", ".lark", ".j2", ".cnn", ".txt", ".yaml", ".yml", ".json", ".cfg"}

LONGEST_FILE = 400
LONGEST_FUNCTION = 50
_SPLIT = (("/wo", "rk/"), ("/ro", "ot/"), ("/far", "m/"), ("/ho", "me/"))
_SPLIT_NOTES = (("TO", "DO"), ("FIX", "ME"), ("XX", "X:"), ("HA", "CK"))
FORBIDDEN = tuple("".join(parts) for parts in (*_SPLIT, *_SPLIT_NOTES))
"""Paths of one machine and unfinished business, written so that this file has none."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def texts() -> list[Path]:
    """Every text file of the project."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for room in ROOMS:
        found += (path for path in (ROOT / room).rglob("*") if "__pycache__" not in path.parts)
    return sorted(path for path in found if path.is_file() and path.suffix in TEXT)


def name_of(path: Path) -> str:
    """The path inside the project."""
    return path.relative_to(ROOT).as_posix()


TEXTS = texts()
SOURCES = [path for path in TEXTS if path.suffix == ".py"]
PACKAGE = [path for path in SOURCES if path.is_relative_to(ROOT / "cnnc")]


def read(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(read(path))


def length(function: Function) -> int:
    """Lines of a function without its decorators."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def undocumented(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield f"{prefix}{node.name} (line {node.lineno})"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{prefix}{node.name}.")


def test_the_project_is_found() -> None:
    """The lists the other tests walk are not empty."""
    names = {name_of(path) for path in TEXTS}
    assert {"pyproject.toml", "grammar/cnn.lark", "cnnc/ir/graph.py"} <= names
    assert len(PACKAGE) > 20


def test_files_are_short() -> None:
    """No file is longer than one can hold in mind."""
    lengths = {name_of(path): len(read(path).splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    """No function is longer than a screen."""
    lengths = {
        f"{name_of(path)}: {node.name}": length(node)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, Function)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_nothing_forbidden_is_mentioned() -> None:
    """No path of one machine, and no note that something is still to be done."""
    found = [(name_of(path), word) for path in TEXTS for word in FORBIDDEN if word in read(path)]
    assert found == []


def test_public_names_have_docstrings() -> None:
    """Modules, classes, functions and methods say what they are."""
    bare = [path for path in SOURCES if read(path) and not ast.get_docstring(parsed(path))]
    assert [name_of(path) for path in bare] == []
    missing = {name_of(path): list(undocumented(parsed(path).body, "")) for path in PACKAGE}
    assert {name: names for name, names in missing.items() if names} == {}


def test_passes_are_functions_named_like_their_files() -> None:
    """`fuse.py` has a function `fuse`, whose docstring shows before → after."""
    for path in sorted((ROOT / "cnnc" / "passes").glob("*.py")):
        functions = [node for node in parsed(path).body if isinstance(node, ast.FunctionDef)]
        if not path.stem.startswith("_"):
            named = {function.name: ast.get_docstring(function) or "" for function in functions}
            assert path.stem in named
            assert "→" in named[path.stem], f"{path.stem}: before → after"


def test_the_passes_room_imports_nothing() -> None:
    """Importing one pass loads no other: the pipeline is a list elsewhere."""
    tree = parsed(ROOT / "cnnc" / "passes" / "__init__.py")
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
