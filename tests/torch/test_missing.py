"""Without the package torch everything says which extra brings it."""

import sys

import pytest

import cnnc.torch
from cnnc.base.errors import UserError


def test_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import cnnc.torch` works, and what needs torch is a user error."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for wish in (
        lambda: cnnc.torch.compile_module(None, ()),
        lambda: cnnc.torch.to_text(None, ()),
        lambda: cnnc.torch.register(),
    ):
        with pytest.raises(UserError, match=r"E0802.*`torch`") as raised:
            wish()
        assert "pip install cnnc[torch]" in str(raised.value)
    cnnc.torch.report(clear=True)
    assert str(cnnc.torch.report()) == "nothing has been compiled"
