"""The package `onnx`, which cnnc needs for this alone."""

from importlib.util import find_spec

from cnnc.base.errors import fail


def require_onnx() -> None:
    """UserError where it is not installed."""
    if find_spec("onnx") is None:
        raise fail("E0802", "the package `onnx` is not installed", help="pip install 'cnnc[onnx]'")
