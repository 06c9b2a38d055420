"""What is said where a compiler or a GPU is missing, or does not fit."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnc.backends.cuda import toolchain
from cnnc.backends.cuda.toolchain import Gpu, Nvcc, build, look_for_gpu, require
from cnnc.base.errors import InternalError, UserError
from tests.cuda.tools import require_nvcc
from tests.tools import REQUIRE

NO_COMPILER = (
    "gcc: No such file or directory\\n"
    "nvcc fatal   : Failed to preprocess host compiler properties.\\n"
)


def _nvcc(folder: Path, release: str = "13.0", codes: str = "sm_80 sm_90", fault: str = "") -> Nvcc:
    """A program that speaks as nvcc does."""
    folder.mkdir(exist_ok=True)
    path = folder / "nvcc"
    path.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f'--version) echo "Cuda compilation tools, release {release}, V{release}.1" ;;\n'
        f"--list-gpu-code) printf '%s\\n' {codes} ;;\n"
        f"*) printf '{fault}' >&2; exit 1 ;;\n"
        "esac\n"
    )
    path.chmod(0o755)
    return Nvcc(path, ())


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with an H100."""
    monkeypatch.setattr(toolchain, "look_for_gpu", lambda: Gpu("H100", 90))
    return monkeypatch


def _refused(places: pytest.MonkeyPatch, nvcc: Nvcc | None) -> str:
    places.setattr(toolchain, "find_nvcc", lambda: nvcc)
    with pytest.raises(UserError) as caught:
        require()
    assert all(each.help for each in caught.value.diagnostics)
    return str(caught.value)


def test_a_compiler_that_fits_is_taken(places: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvcc = _nvcc(tmp_path)
    places.setattr(toolchain, "find_nvcc", lambda: nvcc)
    assert require() == (nvcc, Gpu("H100", 90))
    # one that does not say what it knows is tried
    silent = _nvcc(tmp_path / "silent", codes="''")
    places.setattr(toolchain, "find_nvcc", lambda: silent)
    assert require()[0] == silent


def test_an_old_compiler_is_refused(places: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = _refused(places, _nvcc(tmp_path, "11.8"))
    assert "nvcc 11.8" in text
    assert "12.0 or later" in text


def test_a_gpu_that_the_compiler_does_not_know(places: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = _refused(places, _nvcc(tmp_path, "12.0", "sm_80"))
    assert "does not know sm_90, which the H100 here is" in text


@pytest.mark.parametrize(
    ("status", "visible", "said"),
    [
        (100, None, "finds no GPU"),
        (100, "-1", "CUDA_VISIBLE_DEVICES is `-1`"),
        (803, None, "reports error 803"),
    ],
)
def test_a_driver_that_has_no_gpu(
    monkeypatch: pytest.MonkeyPatch, status: int, visible: str | None, said: str
) -> None:
    driver = SimpleNamespace(cuInit=lambda flags: status)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = look_for_gpu()
    assert isinstance(found, str)
    assert said in found


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert "no NVIDIA driver here: `libcuda.so.1` cannot be loaded" in str(look_for_gpu())


def test_without_a_compiler_for_the_host(tmp_path: Path) -> None:
    nvcc = _nvcc(tmp_path, fault=NO_COMPILER)
    with pytest.raises(UserError, match="gcc: No such file") as caught:
        build(nvcc, 90, {}, "net.cu", None)
    assert "install g++" in str(caught.value)
    with pytest.raises(InternalError, match="syntax"):
        build(_nvcc(tmp_path / "other", fault="a syntax error"), 90, {}, "net.cu", None)


def test_tests_without_a_compiler_fail_where_tools_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.tools.find_tool", lambda name: None)
    monkeypatch.setenv(REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="`nvcc` is not here"):
        require_nvcc()
    monkeypatch.setenv(REQUIRE, "0")
    with pytest.raises(pytest.skip.Exception, match="`nvcc` is not here"):
        require_nvcc()


def test_windows_is_said_not_to_be_supported(
    monkeypatch: pytest.MonkeyPatch, places: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert "under Windows" in _refused(places, _nvcc(tmp_path))
