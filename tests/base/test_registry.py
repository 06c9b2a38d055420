"""Tables that fill themselves."""

import pytest

from cnnc.base.registry import Registry
from cnnc.onnx.registry import IMPORTERS as OF_ONNX
from cnnc.torch.registry import IMPORTERS as OF_TORCH


def test_names_have_one_function() -> None:
    """A second one is an error, and what is not there is None."""
    table: Registry[int] = Registry("cnnc.onnx.importers")
    assert table.register("a", "b")(3) == 3
    with pytest.raises(ValueError, match=r"cnnc\.onnx\.importers has `b` twice"):
        table.register("c", "b")(4)
    assert (table.find("a"), table.find("z")) == (3, None)


def test_the_importers() -> None:
    """Both tables fill themselves with what is in their packages, each with its own."""
    assert OF_ONNX.find("Relu") is not None
    assert OF_TORCH.find("relu") is not None
    assert OF_TORCH.find("Relu") is None
    assert "Conv" in OF_ONNX.names
    assert OF_TORCH.names == sorted(OF_TORCH.names)
