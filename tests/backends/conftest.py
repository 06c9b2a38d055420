"""What holds for all tests of backends."""

from collections.abc import Iterator

import pytest

from cnnc.lowering import sharing


@pytest.fixture(autouse=True, scope="package")
def _short_steps_are_shared() -> Iterator[None]:
    """Threads share every step: those of the tests' nets are so short that none would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "SHORTEST_STEP", 0)
        patch.setattr(sharing, "SHORTEST_NET", 0)
        patch.setattr(sharing, "LONG_NET", 0)
        yield
