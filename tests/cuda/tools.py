"""The compiler that some tests need."""

from cnnc.backends.cuda.toolchain import Nvcc, find_nvcc
from tests.tools import require_tool


def require_nvcc() -> Nvcc:
    """The one that networks are compiled with, also of NVIDIA's packages; see `require_tool`."""
    require_tool("nvcc", "the CUDA toolkit or cnnc[cuda]")
    found = find_nvcc()
    assert found, "tests find an nvcc that cnnc does not"
    return found
