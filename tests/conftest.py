"""Settings for all tests.

No deadlines, as machines under test may be busy, and the same examples in every run: a test that
fails has a cause in the code. No code from a cache, as a test of the compiler must compile; tests
of the cache set up their own. `--hypothesis-profile=explore` draws new examples.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("cnnc", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("cnnc")
os.environ["CNNC_CACHE"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole networks first: they take longest, and at the end one process would wait for them."""
    items.sort(key=lambda item: "tests/zoo/" not in item.nodeid)
