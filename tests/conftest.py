"""Settings for all tests.

No deadlines, as machines under test may be busy, and the same examples in every run: a test that
fails has a cause in the code. No code from a cache, as a test of the compiler must compile; tests
of the cache set up their own. One thread for each product of matrices of NumPy and PyTorch, also in
processes that tests start: several test at once, and threads that wait take time from the others.
`--hypothesis-profile=explore` draws new examples.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("cnnc", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("cnnc")
os.environ["CNNC_CACHE"] = "off"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole networks first: they take longest, and at the end one process would wait for them."""
    items.sort(key=lambda item: "tests/zoo/" not in item.nodeid)


@pytest.fixture(scope="module")
def code_is_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Equal code is compiled once for all tests of a module: for those that look at results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Neighbours in one process, so that what a module's tests share is made once.

    A process without tests takes half of another's. `--dist` may still ask for another way.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
