"""The wheel is whole: built, installed elsewhere, and run without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Standard output of a command that must succeed; `path` goes before installed packages."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path:
        environment["PYTHONPATH"] = str(path)
    ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", folder, ROOT, cwd=folder)
    (path,) = folder.glob("cnnc-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "install", *options, "--target", folder, wheel, cwd=folder)
    return folder


def test_what_the_wheel_carries(wheel: Path) -> None:
    """Types, grammar, every template, what is said about errors, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "cnnc/py.typed" in names
    assert "cnnc/_data/grammar/cnn.lark" in names
    assert "cnnc/_data/docs/errors.md" in names
    for room in ("grammar", "templates"):
        for path in (ROOT / room).rglob("*"):
            if path.is_file():
                assert f"cnnc/_data/{path.relative_to(ROOT).as_posix()}" in names
    for path in (ROOT / "cnnc").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith(("tests", "examples"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    """From another folder, on a network of its own: check, then native code."""
    net = tmp_path / "net.cnn"
    net.write_text(
        "cnn 1\nnet tiny {\n  input x: f32[N, 3, 6, 6]\n"
        "  output y = x -> conv(4, 3) -> relu\n  weights he(seed = 0)\n}\n"
    )
    where = run(
        *(sys.executable, "-c", "import cnnc; print(cnnc.__file__)"), cwd=tmp_path, path=installed
    )
    assert Path(where.strip()).is_relative_to(installed)
    command = (sys.executable, "-m", "cnnc")
    text = run(*command, "check", net, cwd=tmp_path, path=installed)
    assert "112 parameters" in text
    text = run(*command, "diff", net, cwd=tmp_path, path=installed)
    assert "tiny agrees with the reference (native" in text


def test_the_version_is_one(wheel: Path) -> None:
    """The file name and the package agree."""
    import cnnc

    assert wheel.name.split("-")[1] == cnnc.__version__
