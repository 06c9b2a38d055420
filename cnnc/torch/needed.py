"""PyTorch, imported when it is needed only."""

from types import ModuleType

from cnnc.base.errors import fail


def import_torch() -> ModuleType:
    """The package `torch`; UserError where it is not installed."""
    try:
        import torch
    except ImportError:
        message = "networks of PyTorch need the package `torch`"
        raise fail("E0802", message, help="install it: `pip install cnnc[torch]`") from None
    found: ModuleType = torch
    return found
