"""The collector of cycles runs again when it should, and only then."""

import gc
from collections.abc import Iterator

import pytest

from cnnc.base.collector import paused


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The collector as it was."""
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_left_as_it_was(enabled: bool) -> None:
    """After the outermost of several pauses, and after an error."""
    (gc.enable if enabled else gc.disable)()
    with paused():
        assert not gc.isenabled()
        with pytest.raises(ValueError, match="inside"), paused():
            raise ValueError("inside")
        assert not gc.isenabled()
    assert gc.isenabled() is enabled
